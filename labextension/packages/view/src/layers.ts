/**
 * The layered graph under a drawing: ranks, dummies on long edges, and an order of each layer with few crossings.
 * Indices only. The twin of `prefect_nb/views/layers.py`: equal input gives equal output, so keep the order of operations.
 */

export type Pair = readonly [number, number];

const DUMMY = 10;
const SWAP_LIMIT = 6000;

/** The layered graph while it is worked on; `above` and `below` hold neighbours one layer away. */
export interface Web {
  real: number;
  rank: number[];
  width: number[];
  above: number[][];
  below: number[][];
  chains: number[][];
  layers: number[][];
}

/** An element that must exist: indices here come from the arrays themselves. */
export function at<T>(list: readonly T[], index: number): T {
  return list[index] as T;
}

function lists(count: number): number[][] {
  return Array.from({ length: count }, () => []);
}

/** A topological order (lowest index first) and the edges turned to agree with it. */
export function sortedForward(count: number, edges: readonly Pair[]): { order: number[]; forward: Pair[] } {
  const out = lists(count);
  const waiting = new Array<number>(count).fill(0);
  for (const [source, target] of edges) {
    at(out, source).push(target);
    waiting[target] = at(waiting, target) + 1;
  }
  const done = new Array<boolean>(count).fill(false);
  const order: number[] = [];
  const ready: number[] = [];
  for (let v = 0; v < count; v++) {
    if (waiting[v] === 0) {
      ready.push(v);
    }
  }
  let cursor = 0;
  let next = 0;
  while (order.length < count) {
    if (next >= ready.length) {
      while (done[cursor]) {
        cursor++;
      }
      ready.push(cursor);
    }
    const vertex = at(ready, next++);
    if (done[vertex]) {
      continue;
    }
    done[vertex] = true;
    order.push(vertex);
    for (const target of at(out, vertex)) {
      waiting[target] = at(waiting, target) - 1;
      if (waiting[target] === 0 && !done[target]) {
        ready.push(target);
      }
    }
  }
  const place = new Array<number>(count).fill(0);
  order.forEach((vertex, index) => (place[vertex] = index));
  const forward = edges.map(([s, t]): Pair => (at(place, s) < at(place, t) ? [s, t] : [t, s]));
  return { order, forward };
}

/** Longest path from a source; a source moves down to just above its nearest target. */
function ranks(count: number, order: readonly number[], edges: readonly Pair[]): number[] {
  const out = lists(count);
  const inward = new Array<number>(count).fill(0);
  for (const [source, target] of edges) {
    at(out, source).push(target);
    inward[target] = at(inward, target) + 1;
  }
  const rank = new Array<number>(count).fill(0);
  for (const vertex of order) {
    for (const target of at(out, vertex)) {
      rank[target] = Math.max(at(rank, target), at(rank, vertex) + 1);
    }
  }
  for (const vertex of order) {
    const targets = at(out, vertex);
    if (inward[vertex] === 0 && targets.length) {
      rank[vertex] = targets.reduce((least, target) => Math.min(least, at(rank, target)), Infinity) - 1;
    }
  }
  return rank;
}

/** Ranks, dummies, and a first order of each layer: as a depth-first walk meets them. */
export function layered(across: readonly number[], order: readonly number[], edges: readonly Pair[]): Web {
  const count = across.length;
  const rank = ranks(count, order, edges);
  const width = [...across];
  const above = lists(count);
  const below = lists(count);
  const chains: number[][] = [];
  for (const [source, target] of edges) {
    const chain = [source];
    for (let level = at(rank, source) + 1; level < at(rank, target); level++) {
      chain.push(rank.length);
      rank.push(level);
      width.push(DUMMY);
      above.push([]);
      below.push([]);
    }
    chain.push(target);
    for (let i = 1; i < chain.length; i++) {
      const upper = at(chain, i - 1);
      const lower = at(chain, i);
      at(below, upper).push(lower);
      at(above, lower).push(upper);
    }
    chains.push(chain);
  }
  const layers = lists(rank.reduce((most, level) => Math.max(most, level), 0) + 1);
  const seen = new Array<boolean>(rank.length).fill(false);
  for (let root = 0; root < count; root++) {
    if (at(above, root).length) {
      continue;
    }
    const stack = [root];
    let vertex: number | undefined;
    while ((vertex = stack.pop()) !== undefined) {
      if (seen[vertex]) {
        continue;
      }
      seen[vertex] = true;
      at(layers, at(rank, vertex)).push(vertex);
      const under = at(below, vertex);
      for (let i = under.length - 1; i >= 0; i--) {
        stack.push(at(under, i));
      }
    }
  }
  return { real: count, rank, width, above, below, chains, layers };
}

function positions(web: Web): number[] {
  const spot = new Array<number>(web.rank.length).fill(0);
  for (const layer of web.layers) {
    layer.forEach((vertex, index) => (spot[vertex] = index));
  }
  return spot;
}

/** Pairs of edges that cross, over all layers; a Fenwick tree counts the ends to the right. */
function crossings(web: Web, spot: readonly number[]): number {
  let total = 0;
  for (let level = 0; level + 1 < web.layers.length; level++) {
    const size = at(web.layers, level + 1).length;
    const tree = new Array<number>(size + 1).fill(0);
    let seen = 0;
    for (const vertex of at(web.layers, level)) {
      const ends = at(web.below, vertex).map(lower => at(spot, lower));
      for (const end of ends) {
        let upTo = 0;
        for (let i = end + 1; i > 0; i -= i & -i) {
          upTo += at(tree, i);
        }
        total += seen - upTo;
      }
      for (const end of ends) {
        for (let i = end + 1; i <= size; i += i & -i) {
          tree[i] = at(tree, i) + 1;
        }
        seen++;
      }
    }
  }
  return total;
}

/** Reorder the layers; the best order seen stays. */
export function untangle(web: Web): void {
  const size = web.rank.length;
  let spot = positions(web);
  let fewest = crossings(web, spot);
  let best = web.layers.map(layer => [...layer]);
  let stale = 0;
  for (let turn = 0; turn < (size < 300 ? 12 : 6); turn++) {
    if (fewest === 0 || stale === 4) {
      break;
    }
    sweep(web, spot, turn % 2 === 0);
    const now = crossings(web, spot);
    stale++;
    if (now < fewest) {
      fewest = now;
      stale = 0;
      best = web.layers.map(layer => [...layer]);
    }
  }
  web.layers = best;
  if (fewest && size < SWAP_LIMIT) {
    spot = positions(web);
    for (let turn = 0; turn < (size < 300 ? 4 : 2); turn++) {
      if (!swaps(web, spot)) {
        break;
      }
    }
  }
}

function sweep(web: Web, spot: number[], down: boolean): void {
  const count = web.layers.length;
  const near = down ? web.above : web.below;
  for (let step = 1; step < count; step++) {
    const level = down ? step : count - 1 - step;
    const layer = at(web.layers, level);
    const fixed = at(web.layers, down ? level - 1 : level + 1).length;
    const pull = new Map<number, number>();
    for (const vertex of layer) {
      const others = at(near, vertex);
      const sum = others.reduce((total, other) => total + at(spot, other), 0);
      pull.set(vertex, others.length ? sum / others.length : (at(spot, vertex) * fixed) / layer.length);
    }
    layer.sort((a, b) => (pull.get(a) as number) - (pull.get(b) as number));
    layer.forEach((vertex, index) => (spot[vertex] = index));
  }
}

/** Exchange neighbours wherever that removes crossings; whether any was exchanged. */
function swaps(web: Web, spot: number[]): boolean {
  let changed = false;
  for (const layer of web.layers) {
    for (let index = 0; index + 1 < layer.length; index++) {
      const left = at(layer, index);
      const right = at(layer, index + 1);
      const gain =
        excess(at(web.above, left), at(web.above, right), spot) +
        excess(at(web.below, left), at(web.below, right), spot);
      if (gain > 0) {
        layer[index] = right;
        layer[index + 1] = left;
        spot[left] = index + 1;
        spot[right] = index;
        changed = true;
      }
    }
  }
  return changed;
}

/** Crossings of the edges of two neighbours, less those after an exchange. */
function excess(left: readonly number[], right: readonly number[], spot: readonly number[]): number {
  let total = 0;
  for (const one of left) {
    for (const other of right) {
      total += Math.sign(at(spot, one) - at(spot, other));
    }
  }
  return total;
}
