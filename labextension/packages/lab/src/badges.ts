/** The state of each cell, on the cell: attributes for the style sheet and a small mark beside the prompt. */

import type { Cell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { drawGlyph, lookOf, spoken, TONES, type NodeView, type ViewModel } from '@prefect-nb/view';

const SVG = 'http://www.w3.org/2000/svg';

export function showBadges(panel: NotebookPanel, model: ViewModel | null): void {
  const nodes = new Map<string, NodeView>();
  for (const node of model?.nodes ?? []) {
    if (node.cell_id !== null && node.kind !== 'function') {
      nodes.set(node.cell_id, node);
    }
  }
  for (const cell of panel.content.widgets) {
    const node = nodes.get(cell.model.id);
    if (node && !(node.kind === 'plain' && node.state === 'Pending')) {
      dress(cell, node);
    } else if (cell.node.dataset['prefectNbState'] !== undefined) {
      undress(cell);
    }
  }
}

function dress(cell: Cell, node: NodeView): void {
  const look = lookOf(node.state, node.type, node.kind);
  const words = spoken(node, []);
  const { dataset, style } = cell.node;
  const stale = node.freshness.startsWith('stale');
  const key = `${node.state} ${stale} ${words}`;
  if (dataset['prefectNbKey'] === key && cell.node.querySelector(':scope > .pnb-cell-mark')) {
    return;
  }
  dataset['prefectNbKey'] = key;
  dataset['prefectNbState'] = node.state;
  dataset['prefectNbTone'] = look.tone;
  cell.node.toggleAttribute('data-prefect-nb-stale', stale);
  const [fill, fillDark, line, lineDark] = TONES[look.tone] ?? ['', '', '', ''];
  style.setProperty('--pnb-light', line);
  style.setProperty('--pnb-dark', lineDark);
  style.setProperty('--pnb-light-fill', fill);
  style.setProperty('--pnb-dark-fill', fillDark);
  const mark = cell.node.querySelector<HTMLElement>(':scope > .pnb-cell-mark') ?? newMark(cell);
  const path = mark.querySelector('path');
  if (path) {
    drawGlyph(path, look);
  }
  mark.setAttribute('aria-label', words);
  mark.title = node.reason ? `${words}\n${node.reason}` : words;
}

function undress(cell: Cell): void {
  for (const name of ['prefectNbKey', 'prefectNbState', 'prefectNbTone', 'prefectNbStale']) {
    delete cell.node.dataset[name];
  }
  cell.node.querySelector(':scope > .pnb-cell-mark')?.remove();
}

function newMark(cell: Cell): HTMLElement {
  const mark = document.createElement('div');
  mark.className = 'pnb-cell-mark';
  mark.setAttribute('role', 'img');
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  const box = document.createElementNS(SVG, 'rect');
  for (const [name, value] of Object.entries({ x: 1.5, y: 1.5, width: 17, height: 17, rx: 5 })) {
    box.setAttribute(name, String(value));
  }
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('transform', 'translate(4 4) scale(.75)');
  svg.append(box, path);
  mark.append(svg);
  cell.node.append(mark);
  return mark;
}
