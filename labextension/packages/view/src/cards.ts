/**
 * From a view model to boxes on a plane. The twin of `prefect_nb/views/cards.py`; `tests/golden/drawing.json` pins both.
 * The size of a card never depends on states, so that a state change never moves anything.
 */

import { place } from './layout.js';
import type { Counts, NodeView, ViewModel } from './protocol.js';

export type Direction = 'down' | 'right';
export const HEAD = 46;
export const ROW = 22;
export const BOLD = 14.2;
const FOOT = 6;
const LEAST = 164;
const MOST = 264;
const FOLD_OVER = 6;
const ROWS = 8;
const GAP = 28;
const NARROW = new Set("fijlrtI.,:;'|!()[] ");
const WIDE = new Set('mwMW@%');

/** One child, or all children of one function: `counts` then says how many are in which state. */
export interface Row {
  id: string;
  label: string;
  node: NodeView;
  counts: Counts | null;
}
export interface Card {
  node: NodeView;
  rows: Row[];
  more: number;
  x: number;
  y: number;
  width: number;
  height: number;
}
export interface Link {
  source: string;
  target: string;
  names: string[];
  kind: 'data' | 'after';
  points: (readonly [number, number])[];
}
export interface Drawing {
  cards: Card[];
  links: Link[];
  width: number;
  height: number;
  direction: Direction;
}

/** Place the cards of a model; cards without any edge form a block of their own after the rest. */
export function arrange(model: ViewModel, direction: Direction): Drawing {
  const cards = families(model).map(([node, children]) => card(node, children));
  const index = new Map(cards.map((one, i) => [one.node.id, i]));
  const known = new Set(model.nodes.map(node => node.id));
  const home = new Map(
    model.nodes.map(node => [node.id, node.parent !== null && known.has(node.parent) ? node.parent : node.id])
  );
  const joined = new Map<string, { s: number; t: number; names: string[]; kind: 'data' | 'after' }>();
  for (const edge of model.edges) {
    const s = index.get(home.get(edge.source) ?? '');
    const t = index.get(home.get(edge.target) ?? '');
    if (s === undefined || t === undefined || s === t) {
      continue;
    }
    const pair = joined.get(`${s} ${t}`) ?? { s, t, names: [], kind: 'after' as const };
    pair.names.push(...edge.names.filter(name => !pair.names.includes(name)));
    joined.set(`${s} ${t}`, edge.kind === 'data' ? { ...pair, kind: 'data' } : pair);
  }
  const pairs = [...joined.values()];
  const linked = [...new Set(pairs.flatMap(({ s, t }) => [s, t]))].sort((a, b) => a - b);
  const small = new Map(linked.map((i, number) => [i, number]));
  const down = direction === 'down';
  const shape = linked.map(i => cards[i] as Card);
  const placement = place(
    shape.map(one => (down ? one.width : one.height)),
    shape.map(one => (down ? one.height : one.width)),
    pairs.map(({ s, t }) => [small.get(s) as number, small.get(t) as number]),
    down ? GAP : 22,
    down ? 44 : 64
  );
  shape.forEach((one, i) => {
    const [across, along] = placement.corners[i] as readonly [number, number];
    one.x = down ? across : along;
    one.y = down ? along : across;
  });
  const links = pairs.map(({ s, t, names, kind }, i): Link => {
    const points = placement.routes[i] ?? [];
    return {
      source: (cards[s] as Card).node.id,
      target: (cards[t] as Card).node.id,
      names,
      kind,
      points: down ? points : points.map(([x, y]) => [y, x] as const)
    };
  });
  const size = down ? [placement.across, placement.along] : [placement.along, placement.across];
  const alone = cards.filter((_, i) => !small.has(i));
  const [width, height] = shelve(alone, size[0] ?? 0, size[1] ?? 0);
  return { cards, links, width, height, direction };
}

/** Each card's node with its children, in document order where it is known, else as given. */
function families(model: ViewModel): [NodeView, NodeView[]][] {
  const known = new Set(model.nodes.map(node => node.id));
  const children = new Map<string, NodeView[]>();
  const roots: NodeView[] = [];
  for (const node of model.nodes) {
    if (node.parent !== null && known.has(node.parent)) {
      const siblings = children.get(node.parent);
      if (siblings) {
        siblings.push(node);
      } else {
        children.set(node.parent, [node]);
      }
    } else {
      roots.push(node);
    }
  }
  const last = model.nodes.length + roots.reduce((most, node) => Math.max(most, node.position ?? 0), 0);
  roots.sort((a, b) => (a.position ?? last) - (b.position ?? last));
  return roots.map(node => [node, children.get(node.id) ?? []]);
}

/** Every line of a list with its depth, children after their parent and folded as on the card. */
export function listed(model: ViewModel): { row: Row; depth: number }[] {
  return families(model).flatMap(([node, children]) => [
    { row: { id: node.id, label: node.label, node, counts: node.counts }, depth: 0 },
    ...rowsOf(node, children).map(row => ({ row, depth: 1 }))
  ]);
}

/** For each node that is a line of its own, and each folded line: how it looks now. */
export function rowIndex(model: ViewModel): Map<string, Row> {
  return new Map(listed(model).map(({ row }) => [row.id, row]));
}

function card(node: NodeView, children: NodeView[]): Card {
  const all = rowsOf(node, children);
  const rows = all.slice(0, ROWS);
  const more = all.length - rows.length;
  let width = textWidth(node.label, BOLD) + 84;
  for (const row of rows) {
    width = Math.max(width, textWidth(row.label, 11.5) + 116);
  }
  const height = HEAD + (rows.length ? ROW * (rows.length + (more > 0 ? 1 : 0)) + FOOT : 0);
  return { node, rows, more, x: 0, y: 0, width: Math.min(MOST, Math.max(LEAST, width)), height };
}

function rowsOf(parent: NodeView, children: NodeView[]): Row[] {
  const single = (node: NodeView): Row => ({ id: node.id, label: node.label, node, counts: node.counts });
  if (children.length <= FOLD_OVER) {
    return children.map(single);
  }
  const groups = new Map<string, NodeView[]>();
  for (const child of children) {
    const group = groups.get(child.label);
    if (group) {
      group.push(child);
    } else {
      groups.set(child.label, [child]);
    }
  }
  return [...groups].map(([label, group]) => {
    if (group.length === 1) {
      return single(group[0] as NodeView);
    }
    const counts: Counts = {};
    for (const child of group) {
      for (const [state, number] of Object.entries(child.counts ?? { [child.state]: 1 })) {
        counts[state] = (counts[state] ?? 0) + number;
      }
    }
    return { id: `${parent.id}::${label}`, label, node: speaker(group), counts };
  });
}

const WEIGHT = [
  'FAILED',
  'CRASHED',
  'RUNNING',
  'CANCELLING',
  'PAUSED',
  'SCHEDULED',
  'PENDING',
  'CANCELLED',
  'COMPLETED'
];

/** The child that stands for all: the first of the type that matters most; done only when all are done. */
export function speaker(group: readonly NodeView[]): NodeView {
  const weight = (node: NodeView): number => (WEIGHT.indexOf(node.type) + WEIGHT.length + 1) % (WEIGHT.length + 1);
  return group.reduce((best, node) => (weight(node) < weight(best) ? node : best));
}

/** Put the given cards on shelves below everything else; the new size of the whole. */
function shelve(alone: Card[], wide: number, high: number): [number, number] {
  let width = wide;
  let height = high;
  const room = Math.max(width, 3 * MOST);
  let x = 0;
  let y = height ? height + 44 : 0;
  let tallest = 0;
  for (const one of alone) {
    if (x && x + one.width > room) {
      x = 0;
      y += tallest + GAP;
      tallest = 0;
    }
    one.x = x;
    one.y = y;
    tallest = Math.max(tallest, one.height);
    width = Math.max(width, x + one.width);
    height = y + tallest;
    x += one.width + GAP;
  }
  return [width, height];
}

/** SVG path data of a link: straight along the flow, curved between layers. */
export function routePath(points: readonly (readonly [number, number])[], direction: Direction): string {
  const down = direction === 'down';
  let path = '';
  points.forEach(([x2, y2], i) => {
    const before = points[i - 1];
    if (!before) {
      path = `M${short(x2)} ${short(y2)}`;
      return;
    }
    const [x1, y1] = before;
    if (Math.abs(down ? x1 - x2 : y1 - y2) < 0.05) {
      path += `L${short(x2)} ${short(y2)}`;
    } else if (down) {
      const middle = short((y1 + y2) / 2);
      path += `C${short(x1)} ${middle} ${short(x2)} ${middle} ${short(x2)} ${short(y2)}`;
    } else {
      const middle = short((x1 + x2) / 2);
      path += `C${middle} ${short(y1)} ${middle} ${short(y2)} ${short(x2)} ${short(y2)}`;
    }
  });
  return path;
}

function short(value: number): string {
  const number = Math.trunc(value * 10 + (value >= 0 ? 0.5 : -0.5)) / 10;
  return Number.isInteger(number) ? String(number + 0) : number.toFixed(1);
}

/** A safe estimate without fonts, in pixels; the same on every machine. */
export function textWidth(text: string, size: number): number {
  let total = 0;
  for (const character of text) {
    total += advance(character);
  }
  return total * size;
}

function advance(character: string): number {
  if ((character.codePointAt(0) ?? 0) > 0x2e7f) {
    return 1.05;
  }
  if (NARROW.has(character)) {
    return 0.36;
  }
  if (WIDE.has(character)) {
    return 0.92;
  }
  return character >= 'A' && character <= 'Z' ? 0.7 : 0.585;
}

/** The text, or its beginning and an ellipsis, so that it fits. */
export function fitText(text: string, width: number, size: number): string {
  if (textWidth(text, size) <= width) {
    return text;
  }
  let room = width - size;
  let kept = '';
  for (const character of text) {
    room -= advance(character) * size;
    if (room < 0) {
      return `${kept.trimEnd()}…`;
    }
    kept += character;
  }
  return text;
}
