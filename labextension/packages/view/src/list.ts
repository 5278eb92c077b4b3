/** The list: the same tasks as a table with headers and real buttons, equal to the graph for a screen reader. */

import { Mark } from './badge.js';
import { listed, type Row } from './cards.js';
import { h } from './dom.js';
import { lineOf } from './graph.js';
import { lookOf } from './palette.js';
import type { Action, NodeView, ViewModel } from './protocol.js';
import { duration, tally } from './words.js';

export const ACTION_WORDS: Record<Action, string> = {
  run: 'Run',
  'run-downstream': 'Run downstream',
  retry: 'Retry',
  approve: 'Approve',
  reject: 'Reject',
  cancel: 'Cancel',
  skip: 'Skip',
  invalidate: 'Invalidate',
  why: 'Why',
  logs: 'Logs'
};

export interface ListEvents {
  select(id: string): void;
  act(action: Action, node: NodeView): void;
}

export class List {
  readonly node = h('div', { class: 'pnb-list', tabindex: 0, role: 'region', 'aria-label': 'tasks' });
  private selected: string | null = null;

  constructor(private readonly events: ListEvents) {}

  draw(model: ViewModel): void {
    const focused = this.node.contains(document.activeElement)
      ? document.activeElement?.getAttribute('data-focus')
      : null;
    const body = h('tbody');
    for (const { row, depth } of listed(model)) {
      body.append(this.line(row, depth));
    }
    const headers = ['Task', 'State', 'Attempt', 'Time', 'Reason', 'Actions'];
    this.node.replaceChildren(
      h(
        'table',
        {},
        h('caption', { class: 'pnb-hidden' }, `Tasks of ${model.run.flow}`),
        h('thead', {}, h('tr', {}, ...headers.map(text => h('th', { scope: 'col' }, text)))),
        body
      )
    );
    if (focused) {
      this.node.querySelector<HTMLElement>(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    }
    this.select(this.selected);
  }

  select(id: string | null): void {
    this.selected = id;
    for (const line of this.node.querySelectorAll<HTMLElement>('tr[data-node]')) {
      line.classList.toggle('pnb-selected', line.dataset['node'] === id);
    }
  }

  private line(row: Row, depth: number): HTMLTableRowElement {
    const node = row.node;
    const folded = row.id !== node.id;
    const open = h('button', { class: 'pnb-link', type: 'button', 'data-focus': `${row.id} open` }, row.label);
    open.addEventListener('click', () => this.events.select(row.id));
    const name = h('th', { scope: 'row' }, open);
    name.style.paddingInlineStart = `${8 + depth * 18}px`;
    const state = h('td', {}, new Mark(lookOf(node.state, node.type, node.kind)).node, ` ${stateWords(row)}`);
    const actions = h('td', { class: 'pnb-actions' });
    for (const action of folded ? [] : node.actions) {
      if (action === 'why' || action === 'logs' || action === 'run-downstream') {
        continue;
      }
      const button = h(
        'button',
        {
          type: 'button',
          class: 'pnb-button',
          'data-focus': `${row.id} ${action}`,
          'aria-label': `${ACTION_WORDS[action]} ${row.label}`
        },
        ACTION_WORDS[action]
      );
      button.addEventListener('click', () => this.events.act(action, node));
      actions.append(button);
    }
    const time = node.saved_s ? `saved ${duration(node.saved_s)}` : duration(node.duration_s);
    const why = node.message && node.type !== 'COMPLETED' ? node.message : node.reason;
    return h(
      'tr',
      { 'data-node': row.id, 'data-state': node.state },
      name,
      state,
      h('td', {}, node.attempt && !folded ? `${node.attempt}/${node.attempts}` : ''),
      h('td', {}, folded ? '' : time),
      h('td', { class: 'pnb-reason' }, folded ? '' : why),
      actions
    );
  }
}

function stateWords(row: Row): string {
  const { node } = row;
  if (row.counts) {
    return `${node.state} ${tally(row.counts)}`;
  }
  const line = lineOf(node, Date.now() / 1000).split(' · ');
  const words = node.type === 'RUNNING' || node.type === 'SCHEDULED' ? line.join(', ') : (line[0] ?? node.state);
  return node.freshness.startsWith('stale') ? `${words} (stale)` : words;
}
