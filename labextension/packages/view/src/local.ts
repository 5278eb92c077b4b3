/** The members of a group as its table asks for them; what the kernel does for a map. The twin of `views/children.py`. */

import type { Children, ChildQuery, ChildRow, Counts, NodeView } from './protocol.js';

export function localChildren(task: string, members: readonly NodeView[], query: ChildQuery): Children {
  const counts: Counts = {};
  const strip: [string, number][] = [];
  for (const { state } of members) {
    counts[state] = (counts[state] ?? 0) + 1;
    const last = strip[strip.length - 1];
    if (last?.[0] === state) {
      last[1] += 1;
    } else {
      strip.push([state, 1]);
    }
  }
  const text = query.text.trim().toLowerCase();
  const rows = members.map((node, index): ChildRow => {
    const { id, label, state, type, attempt, attempts, duration_s, started_at } = node;
    const message = node.message || node.reason;
    return { id, index, label, state, type, attempt, attempts, duration_s, started_at, message };
  });
  const found = rows.filter(
    row =>
      (!query.states.length || query.states.includes(row.state)) &&
      (!text || row.label.toLowerCase().includes(text) || row.message.toLowerCase().includes(text))
  );
  const rank = (row: ChildRow): number | string =>
    ({ index: row.index, state: row.state, attempt: row.attempt, time: row.duration_s ?? -1 })[query.sort];
  const order = (a: ChildRow, b: ChildRow): number => {
    const [x, y] = [rank(a), rank(b)];
    return (x < y ? -1 : x > y ? 1 : a.index - b.index) * (query.descending ? -1 : 1);
  };
  found.sort(order);
  return {
    task,
    total: members.length,
    matched: found.length,
    offset: query.offset,
    counts,
    strip,
    rows: found.slice(query.offset, query.offset + query.limit)
  };
}
