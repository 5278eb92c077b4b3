/**
 * Layered drawing of a directed graph, in numbers only: places and routes. The twin of `prefect_nb/views/layout.py`;
 * `tests/golden/layout.json` pins both.
 */

import { at, layered, sortedForward, untangle, type Pair, type Web } from './layers.js';

/** Across the layers, then along the direction of flow. */
export type Point = readonly [number, number];

export interface Placement {
  corners: Point[];
  routes: Point[][];
  across: number;
  along: number;
}

const PORT_STEP = 14;

export function place(
  across: readonly number[],
  along: readonly number[],
  edges: readonly Pair[],
  gapAcross = 28,
  gapAlong = 44
): Placement {
  if (!across.length) {
    return { corners: [], routes: [], across: 0, along: 0 };
  }
  const { order, forward } = sortedForward(across.length, edges);
  const web = layered(across, order, forward);
  untangle(web);
  const centre = settle(web, gapAcross);
  straighten(web, centre, gapAcross);
  const sameWay = forward.map((pair, index) => pair[0] === at(edges, index)[0]);
  return measured(web, centre, along, gapAlong, sameWay);
}

/** The centre of every vertex across its layer. */
function settle(web: Web, gap: number): number[] {
  const centre = new Array<number>(web.rank.length).fill(0);
  const offsets: number[][] = [];
  for (const layer of web.layers) {
    const run: number[] = [];
    layer.forEach((vertex, index) => {
      run.push(index ? at(run, index - 1) + apart(web, at(layer, index - 1), vertex, gap) : 0);
    });
    offsets.push(run);
    layer.forEach((vertex, index) => (centre[vertex] = at(run, index) - at(run, run.length - 1) / 2));
  }
  const count = web.layers.length;
  for (let turn = 0; turn < (web.rank.length < 2000 ? 10 : 6); turn++) {
    const down = turn % 2 === 0;
    const both = turn >= 4;
    for (let step = 0; step < count; step++) {
      const level = down ? step : count - 1 - step;
      relax(web, level, centre, at(offsets, level), both || down, both || !down);
    }
  }
  return centre;
}

function apart(web: Web, left: number, right: number, gap: number): number {
  const slim = left >= web.real && right >= web.real;
  return (at(web.width, left) + at(web.width, right)) / 2 + (slim ? gap / 2 : gap);
}

/** Move one layer as near to its neighbours as the distances allow (pool adjacent violators). */
function relax(
  web: Web,
  level: number,
  centre: number[],
  offsets: readonly number[],
  up: boolean,
  down: boolean
): void {
  const layer = at(web.layers, level);
  const sums: number[] = [];
  const weights: number[] = [];
  const sizes: number[] = [];
  layer.forEach((vertex, index) => {
    let pull = 0;
    let weight = 0;
    const slim = vertex >= web.real ? 1 : 0;
    for (const near of [up ? at(web.above, vertex) : [], down ? at(web.below, vertex) : []]) {
      for (const other of near) {
        const force = 1 + slim + (other >= web.real ? 1 + 4 * slim : 0);
        pull += force * at(centre, other);
        weight += force;
      }
    }
    if (weight === 0) {
      pull = 0.1 * at(centre, vertex);
      weight = 0.1;
    }
    let total = pull - weight * at(offsets, index);
    let mass = weight;
    let size = 1;
    while (sums.length && at(sums, sums.length - 1) * mass >= total * at(weights, weights.length - 1)) {
      total += sums.pop() as number;
      mass += weights.pop() as number;
      size += sizes.pop() as number;
    }
    sums.push(total);
    weights.push(mass);
    sizes.push(size);
  });
  let index = 0;
  sums.forEach((total, block) => {
    const base = total / at(weights, block);
    for (let i = 0; i < at(sizes, block); i++) {
      centre[at(layer, index)] = base + at(offsets, index);
      index++;
    }
  });
}

/** Let long edges run straight as far as their neighbours leave room; only dummies move. */
function straighten(web: Web, centre: number[], gap: number): void {
  const left = new Map<number, number>();
  const right = new Map<number, number>();
  for (const layer of web.layers) {
    for (let i = 1; i < layer.length; i++) {
      left.set(at(layer, i), at(layer, i - 1));
      right.set(at(layer, i - 1), at(layer, i));
    }
  }
  for (const chain of web.chains) {
    const ends: Pair = [at(chain, chain.length - 1), at(chain, 0)];
    let group: number[] = [];
    let low = -Infinity;
    let high = Infinity;
    for (const dummy of chain.slice(1, -1)) {
      const before = left.get(dummy);
      const after = right.get(dummy);
      const least = before === undefined ? -Infinity : at(centre, before) + apart(web, before, dummy, gap);
      const most = after === undefined ? Infinity : at(centre, after) - apart(web, dummy, after, gap);
      if (Math.max(low, least) > Math.min(high, most)) {
        align(group, low, high, centre, ends);
        group = [];
        low = -Infinity;
        high = Infinity;
      }
      group.push(dummy);
      low = Math.max(low, least);
      high = Math.min(high, most);
    }
    align(group, low, high, centre, ends);
  }
}

/** Put a run of dummies on one line: under an end of the edge if it fits, else where they are on average. */
function align(group: readonly number[], low: number, high: number, centre: number[], ends: Pair): void {
  if (!group.length || low > high) {
    return;
  }
  let spot = group.reduce((total, dummy) => total + at(centre, dummy), 0) / group.length;
  for (const end of ends) {
    if (low <= at(centre, end) && at(centre, end) <= high) {
      spot = at(centre, end);
      break;
    }
  }
  spot = Math.max(low, Math.min(high, spot));
  for (const dummy of group) {
    centre[dummy] = spot;
  }
}

function measured(
  web: Web,
  raw: readonly number[],
  along: readonly number[],
  gap: number,
  sameWay: readonly boolean[]
): Placement {
  const left = raw.reduce((least, value, v) => Math.min(least, value - at(web.width, v) / 2), Infinity);
  const centre = raw.map(value => value - left);
  const start: number[] = [];
  const end: number[] = [];
  let cursor = 0;
  for (const layer of web.layers) {
    const depth = layer.reduce((most, v) => (v < web.real ? Math.max(most, at(along, v)) : most), 0);
    start.push(cursor);
    cursor += depth;
    end.push(cursor);
    cursor += gap;
  }
  const leaving = ports(
    web,
    centre,
    web.chains.map((chain): Pair => [at(chain, 0), at(chain, 1)])
  );
  const entering = ports(
    web,
    centre,
    web.chains.map((chain): Pair => [at(chain, chain.length - 1), at(chain, chain.length - 2)])
  );
  const level = (vertex: number): number => at(web.rank, vertex);
  const routes = web.chains.map((chain, index) => {
    const first = at(chain, 0);
    const last = at(chain, chain.length - 1);
    const x = at(centre, first) + at(leaving, index);
    const points: Point[] = [
      [x, at(start, level(first)) + at(along, first)],
      [x, at(end, level(first))]
    ];
    for (const dummy of chain.slice(1, -1)) {
      points.push([at(centre, dummy), at(start, level(dummy))], [at(centre, dummy), at(end, level(dummy))]);
    }
    points.push([at(centre, last) + at(entering, index), at(start, level(last))]);
    return sameWay[index] ? points : points.reverse();
  });
  const corners: Point[] = [];
  for (let v = 0; v < web.real; v++) {
    corners.push([at(centre, v) - at(web.width, v) / 2, at(start, level(v))]);
  }
  const across = centre.reduce((most, value, v) => Math.max(most, value + at(web.width, v) / 2), -Infinity);
  return { corners, routes, across, along: at(end, end.length - 1) };
}

/** How far from the middle of its vertex each edge is attached, so that edges do not share one point. */
function ports(web: Web, centre: readonly number[], ends: readonly Pair[]): number[] {
  const groups = new Map<number, number[]>();
  ends.forEach(([vertex], edge) => {
    const group = groups.get(vertex);
    if (group) {
      group.push(edge);
    } else {
      groups.set(vertex, [edge]);
    }
  });
  const shift = new Array<number>(ends.length).fill(0);
  for (const [vertex, group] of groups) {
    const step = Math.min(PORT_STEP, (at(web.width, vertex) - 32) / group.length);
    group.sort((a, b) => at(centre, at(ends, a)[1]) - at(centre, at(ends, b)[1]));
    group.forEach((edge, index) => (shift[edge] = (index - (group.length - 1) / 2) * step));
  }
  return shift;
}
