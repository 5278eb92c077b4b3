/** The renderer and its Python twin agree: both read the files in tests/golden. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { arrange, routePath } from '../lib/cards.js';
import { fold, refold } from '../lib/fold.js';
import { place } from '../lib/layout.js';
import { BORDERS, FILLED, GLYPHS, LOOKS, TONES } from '../lib/palette.js';
import { applyPatch, sameShape } from '../lib/patch.js';
import { isModel, isPatch } from '../lib/protocol.js';
import { age, duration, nodeLine, spoken } from '../lib/words.js';

const golden = name => JSON.parse(readFileSync(new URL(`../../../../tests/golden/${name}.json`, import.meta.url)));

test('the layout places vertices and routes as Python does', () => {
  for (const { across, along, edges, corners, routes, size } of golden('layout')) {
    const placed = place(across, along, edges);
    assert.deepEqual(JSON.parse(JSON.stringify(placed.corners)), corners);
    assert.deepEqual(JSON.parse(JSON.stringify(placed.routes)), routes);
    assert.deepEqual([placed.across, placed.along], size);
  }
});

for (const direction of ['down', 'right']) {
  test(`the drawing ${direction} is the same as the static picture's`, () => {
    const expected = golden('drawing')[direction];
    const drawing = arrange(golden('flights'), direction);
    const plain = {
      width: drawing.width,
      height: drawing.height,
      cards: drawing.cards.map(({ node, x, y, width, height, more, rows }) => ({
        id: node.id,
        x,
        y,
        width,
        height,
        more,
        rows: rows.map(({ id, label, node: { state }, counts }) => ({ id, label, state, counts }))
      })),
      links: drawing.links.map(({ source, target, kind, names, points }) => ({
        source,
        target,
        kind,
        names,
        path: routePath(points, direction)
      }))
    };
    assert.deepEqual(plain, expected);
  });
}

test('large graphs fold into the same groups', () => {
  for (const { rows, edges, nodes, folded } of golden('folded')) {
    const blank = { ...golden('flights').nodes[0], parent: null, position: null };
    const given = rows.map(([id, label, state, type, counts]) => ({ ...blank, id, label, state, type, counts }));
    const lines = edges.map(([source, target]) => ({ source, target, names: [], kind: 'data' }));
    const whole = { ...golden('flights'), nodes: given, edges: lines };
    assert.deepEqual(
      refold(fold({ ...whole, nodes: given.map(one => ({ ...one, state: 'Pending' })) }), whole),
      fold(whole)
    );
    const { model } = fold({ ...golden('flights'), nodes: given, edges: lines });
    assert.deepEqual(
      model.nodes.map(({ id, label, state, type, counts }) => [id, label, state, type, counts]),
      nodes
    );
    assert.deepEqual(
      model.edges.map(({ source, target }) => [source, target]),
      folded
    );
  }
});

test('a patch turns the older model into the newer one', () => {
  const older = golden('flights');
  const newer = golden('flights-after');
  const patched = applyPatch(older, golden('patch'));
  const byId = model => ({ ...model, nodes: [...model.nodes].sort((a, b) => (a.id < b.id ? -1 : 1)) });
  assert.deepEqual(byId(patched), byId(newer));
  assert.equal(sameShape(older, patched), false);
});

test('a gap asks for a snapshot and an old patch changes nothing', () => {
  const model = golden('flights');
  const patch = golden('patch');
  assert.equal(applyPatch(model, { ...patch, seq: patch.seq + 1, base: patch.base + 1 }), null);
  assert.equal(applyPatch(model, { ...patch, seq: model.seq }), model);
});

test('a change of state alone keeps the shape, so that nothing moves', () => {
  const model = golden('flights');
  const node = { ...model.nodes[1], state: 'Running', type: 'RUNNING' };
  const patch = { ...golden('patch'), nodes: [node], removed: [], edges: null, run: null };
  assert.equal(sameShape(model, applyPatch(model, patch)), true);
});

test('messages are told apart and foreign ones are refused', () => {
  assert.equal(isModel(golden('flights')), true);
  assert.equal(isModel(golden('patch')), false);
  assert.equal(isPatch(golden('patch')), true);
  for (const other of [null, 1, 'x', {}, { version: 2 }, { ...golden('flights'), version: 99 }]) {
    assert.equal(isModel(other), false);
    assert.equal(isPatch(other), false);
  }
});

test('states look and numbers read the same in both languages', () => {
  const { tones, glyphs, filled, borders, looks } = golden('palette');
  assert.deepEqual(TONES, tones);
  assert.deepEqual(GLYPHS, glyphs);
  assert.deepEqual([...FILLED].sort(), filled);
  assert.deepEqual(BORDERS, borders);
  const plain = Object.entries(LOOKS).map(([label, look]) => [label, [look.tone, look.glyph, look.border, look.words]]);
  assert.deepEqual(Object.fromEntries(plain), looks);
  const words = golden('words');
  for (const [seconds, said] of words.durations) {
    assert.equal(duration(seconds), said);
  }
  for (const [seconds, said] of words.ages) {
    assert.equal(age(seconds), said);
  }
  const { nodes, edges } = golden('flights');
  for (const [index, [id, line]] of words.lines.entries()) {
    const upstream = edges.filter(edge => edge.target === id).map(edge => edge.source);
    assert.equal(nodeLine(nodes[index]), line);
    assert.equal(spoken(nodes[index], upstream), words.spoken[index][1]);
  }
});
