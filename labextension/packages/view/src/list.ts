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

const LONG = 200;
const LINE = 34;
const WINDOW = 80;
const AROUND = 20;

export interface ListEvents {
  select(id: string): void;
  act(action: Action, node: NodeView): void;
}

export class List {
  readonly node = h('div', { class: 'pnb-list', tabindex: 0, role: 'region', 'aria-label': 'tasks' });
  private selected: string | null = null;
  private fits: ((row: Row) => boolean) | null = null;
  private model: ViewModel | null = null;
  private first = 0;

  constructor(private readonly events: ListEvents) {
    this.node.addEventListener('scroll', () => this.scrolled());
  }

  /** Leave rows out; null shows all. */
  filter(fits: ((row: Row) => boolean) | null): void {
    this.fits = fits;
  }

  draw(model: ViewModel): void {
    const focused = this.node.contains(document.activeElement)
      ? document.activeElement?.getAttribute('data-focus')
      : null;
    this.model = model;
    const body = h('tbody');
    const rows = listed(model).filter(({ row }) => !this.fits || this.fits(row));
    const long = rows.length > LONG;
    this.node.classList.toggle('pnb-long', long);
    this.first = long ? Math.max(0, Math.floor(this.node.scrollTop / LINE) - AROUND) : 0;
    const shown = long ? rows.slice(this.first, this.first + WINDOW) : rows;
    const gap = (lines: number): void => {
      if (lines > 0) {
        const filler = h('tr', { 'aria-hidden': 'true' }, h('td', { colspan: 6, class: 'pnb-gap' }));
        filler.style.height = `${lines * LINE}px`;
        body.append(filler);
      }
    };
    gap(this.first);
    for (const { row, depth } of shown) {
      body.append(this.line(row, depth));
    }
    gap(rows.length - this.first - shown.length);
    const headers = ['Task', 'State', 'Attempt', 'Time', 'Reason', 'Actions'];
    this.node.replaceChildren(
      h(
        'table',
        long ? { 'aria-rowcount': rows.length + 1 } : {},
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

  /** Of a long list only what is in sight exists. */
  private scrolled(): void {
    const at = Math.floor(this.node.scrollTop / LINE);
    const near = at - this.first < AROUND / 2 && this.first > 0;
    if (this.model && this.node.classList.contains('pnb-long') && (near || at - this.first > WINDOW - 2 * AROUND)) {
      this.draw(this.model);
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
