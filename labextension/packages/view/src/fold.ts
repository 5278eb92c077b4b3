/**
 * Folding a large graph: tasks of one name and one depth become a group with counts, and where that is not enough, all of
 * one depth. An edge always leads to a greater depth, so that groups make no cycle. The twin of
 * `prefect_nb/views/fold.py`; `tests/golden/folded.json` pins both.
 */

import { speaker } from './cards.js';
import type { Counts, EdgeView, NodeView, ViewModel } from './protocol.js';

export const LARGE = 150;
const NUMBER = /[-_ ]?\d+$/;

export interface Folded {
  model: ViewModel;
  /** The members of each group, by its id. */
  groups: ReadonlyMap<string, readonly NodeView[]>;
}

/** The model to draw; groups named in `open` stay apart. */
export function fold(model: ViewModel, open: ReadonlySet<string> = new Set()): Folded {
  const known = new Set(model.nodes.map(node => node.id));
  const roots = model.nodes.filter(node => node.parent === null || !known.has(node.parent));
  if (roots.length <= LARGE) {
    return { model, groups: new Map() };
  }
  const depth = depths(roots, model.edges);
  const at = (node: NodeView): number => depth.get(node.id) ?? 0;
  let groups = grouped(roots, node => `${node.label.replace(NUMBER, '') || node.label}@${at(node)}`, open);
  const count = roots.length - [...groups.values()].reduce((sum, group) => sum + group.length - 1, 0);
  if (count > LARGE && !open.size) {
    groups = grouped(roots, node => `depth@${at(node)}`, open);
  }
  const home = new Map<string, string>();
  for (const [id, members] of groups) {
    for (const node of members) {
      home.set(node.id, id);
    }
  }
  const nodes: NodeView[] = [];
  const told = new Set<string>();
  for (const node of model.nodes) {
    const id = home.get(node.id);
    if (id === undefined) {
      if (node.parent === null || !home.has(node.parent)) {
        nodes.push(node);
      }
    } else if (!told.has(id)) {
      told.add(id);
      nodes.push(standIn(id, groups.get(id) ?? []));
    }
  }
  const apart: EdgeView[] = [];
  const pairs = new Map<string, EdgeView>();
  for (const edge of model.edges) {
    const source = home.get(edge.source) ?? edge.source;
    const target = home.get(edge.target) ?? edge.target;
    if (source === edge.source && target === edge.target) {
      apart.push(edge);
    } else if (source !== target) {
      pairs.set(`${source}\n${target}`, { source, target, names: [], kind: 'data' });
    }
  }
  return { model: { ...model, nodes, edges: [...apart, ...pairs.values()] }, groups };
}

/** The same folding after states have changed: only the groups' counts are made anew. */
export function refold(before: Folded, model: ViewModel): Folded {
  if (!before.groups.size) {
    return { model, groups: before.groups };
  }
  const now = new Map(model.nodes.map(node => [node.id, node]));
  const groups = new Map<string, NodeView[]>();
  for (const [id, members] of before.groups) {
    groups.set(
      id,
      members.map(node => now.get(node.id) ?? node)
    );
  }
  const nodes = before.model.nodes.map(node => {
    const members = groups.get(node.id);
    return members ? standIn(node.id, members) : (now.get(node.id) ?? node);
  });
  return { model: { ...model, nodes, edges: before.model.edges }, groups };
}

function grouped(
  roots: readonly NodeView[],
  name: (node: NodeView) => string,
  open: ReadonlySet<string>
): Map<string, NodeView[]> {
  const groups = new Map<string, NodeView[]>();
  for (const node of roots) {
    const id = `group:${name(node)}`;
    const group = groups.get(id);
    if (group) {
      group.push(node);
    } else {
      groups.set(id, [node]);
    }
  }
  for (const [id, group] of groups) {
    if (group.length < 2 || open.has(id)) {
      groups.delete(id);
    }
  }
  return groups;
}

/** The longest way to each node; 0 for what only a cycle reaches. */
function depths(roots: readonly NodeView[], edges: readonly EdgeView[]): Map<string, number> {
  const depth = new Map(roots.map(node => [node.id, 0]));
  const after = new Map<string, string[]>();
  const open = new Map<string, number>();
  for (const { source, target } of edges) {
    if (depth.has(source) && depth.has(target) && source !== target) {
      const targets = after.get(source);
      if (targets) {
        targets.push(target);
      } else {
        after.set(source, [target]);
      }
      open.set(target, (open.get(target) ?? 0) + 1);
    }
  }
  const ready = roots.map(node => node.id).filter(id => !open.has(id));
  for (const id of ready) {
    for (const target of after.get(id) ?? []) {
      depth.set(target, Math.max(depth.get(target) ?? 0, (depth.get(id) ?? 0) + 1));
      const left = (open.get(target) ?? 1) - 1;
      open.set(target, left);
      if (!left) {
        ready.push(target);
      }
    }
  }
  return depth;
}

function standIn(id: string, members: readonly NodeView[]): NodeView {
  const worst = speaker(members);
  const counts: Counts = {};
  for (const node of members) {
    for (const [state, number] of Object.entries(node.counts ?? { [node.state]: 1 })) {
      counts[state] = (counts[state] ?? 0) + number;
    }
  }
  const name = id.slice('group:'.length, id.lastIndexOf('@'));
  const level = id.slice(id.lastIndexOf('@') + 1);
  return {
    ...worst,
    id,
    label: name === 'depth' ? `step ${Number(level) + 1} (${members.length})` : `${name} (${members.length})`,
    kind: 'function',
    parent: null,
    message: '',
    attempt: 0,
    attempts: 1,
    duration_s: null,
    started_at: null,
    due_at: null,
    cached_from: null,
    cached_age_s: null,
    saved_s: null,
    freshness: 'unknown',
    reason: '',
    cell_id: null,
    position: members[0]?.position ?? null,
    counts,
    actions: []
  };
}
