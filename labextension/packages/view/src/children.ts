/**
 * The children of a map: a strip with a stripe for each, and a table of which only the visible window exists. The kernel
 * sorts and filters; asked for again when the counts of the map have changed.
 */

import { Mark } from './badge.js';
import { h, setText } from './dom.js';
import { lookOf } from './palette.js';
import type { Children, ChildQuery, ChildRow, ChildSort, Counts } from './protocol.js';
import { duration } from './words.js';

const LINE = 27;
const WINDOW = 100;
const SHOWN = 9;
const SOON = 200;
const APART = 500;
const COLUMNS: readonly (readonly [ChildSort, string])[] = [
  ['index', 'Item'],
  ['state', 'State'],
  ['attempt', 'Attempt'],
  ['time', 'Time']
];

export interface ChildrenEvents {
  /** Ask for a window; null when nobody answers. */
  ask(task: string, query: ChildQuery): Promise<Children | null>;
  open(row: ChildRow): void;
}

export class ChildTable {
  readonly node = h('section', { class: 'pnb-children', 'data-section': 'children' });
  private readonly strip = h('canvas', { class: 'pnb-strip', role: 'img', width: 600, height: 18 });
  private readonly chips = h('div', { class: 'pnb-chips', role: 'group', 'aria-label': 'show only' });
  private readonly text = h('input', {
    type: 'search',
    class: 'pnb-search',
    placeholder: 'index or message',
    'aria-label': 'search items',
    'data-lm-suppress-shortcuts': 'true'
  });
  private readonly heads = new Map<ChildSort, HTMLElement>();
  private readonly body = h('tbody');
  private readonly scroller = h('div', { class: 'pnb-window', tabindex: 0, role: 'region', 'aria-label': 'items' });
  private readonly said = h('div', { class: 'pnb-dim pnb-matched', role: 'status' });
  private readonly picked = new Set<string>();
  private task = '';
  private key = '';
  private sort: ChildSort = 'index';
  private descending = false;
  private offset = 0;
  private found: Children | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private last = 0;
  private asked = 0;

  constructor(private readonly events: ChildrenEvents) {
    const head = h('tr');
    for (const [sort, words] of COLUMNS) {
      const button = h('button', { type: 'button', class: 'pnb-link' }, words);
      button.addEventListener('click', () => this.order(sort));
      const cell = h('th', { scope: 'col', 'aria-sort': sort === 'index' ? 'ascending' : 'none' }, button);
      this.heads.set(sort, cell);
      head.append(cell);
    }
    head.append(h('th', { scope: 'col' }, 'Message'));
    const table = h('table', {}, h('caption', { class: 'pnb-hidden' }, 'items of the map'), h('thead', {}, head));
    table.append(this.body);
    this.scroller.append(table);
    this.scroller.addEventListener('scroll', () => this.scrolled());
    this.text.addEventListener('input', () => this.again());
    this.text.addEventListener('keydown', event => event.key !== 'Escape' && event.stopPropagation());
    this.node.append(h('h4', {}, 'Items'), this.strip, this.chips, this.text, this.scroller, this.said);
  }

  /** Show a map with these counts; what is known of it stays until something newer arrives. */
  show(task: string, counts: Counts): void {
    if (task !== this.task) {
      this.task = task;
      this.found = null;
      this.offset = 0;
      this.picked.clear();
      this.text.value = '';
      this.scroller.scrollTop = 0;
      this.body.replaceChildren();
      this.key = '';
    }
    const key = JSON.stringify(counts);
    if (key !== this.key) {
      this.key = key;
      this.drawChips(counts);
      this.soon(Math.max(SOON, APART - (Date.now() - this.last)));
    }
  }

  close(): void {
    this.task = '';
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private soon(delay: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.load();
    }, delay);
  }

  private again(): void {
    this.offset = 0;
    this.scroller.scrollTop = 0;
    this.soon(SOON);
  }

  private async load(): Promise<void> {
    const { task, offset, sort, descending } = this;
    if (!task) {
      return;
    }
    this.last = Date.now();
    const turn = ++this.asked;
    const states = [...this.picked];
    const found = await this.events.ask(task, {
      offset,
      limit: WINDOW,
      sort,
      descending,
      states,
      text: this.text.value
    });
    if (task !== this.task || turn !== this.asked) {
      return;
    }
    if (found) {
      this.found = found;
      this.draw(found);
    } else {
      setText(this.said, 'No kernel tells the items now.');
    }
  }

  private draw(found: Children): void {
    const lines = found.rows.map(row => this.line(row));
    const filler = (rows: number): HTMLElement[] => {
      if (rows <= 0) {
        return [];
      }
      const gap = h('tr', { 'aria-hidden': 'true' }, h('td', { colspan: 5, class: 'pnb-gap' }));
      gap.style.height = `${rows * LINE}px`;
      return [gap];
    };
    this.body.replaceChildren(
      ...filler(found.offset),
      ...lines,
      ...filler(found.matched - found.offset - found.rows.length)
    );
    this.scroller.style.maxHeight = `${(Math.min(SHOWN, Math.max(1, found.matched)) + 1) * LINE + 4}px`;
    this.scroller.querySelector('table')?.setAttribute('aria-rowcount', String(found.matched + 1));
    setText(
      this.said,
      found.matched === found.total ? `${found.total} items` : `${found.matched} of ${found.total} items`
    );
    this.paint(found);
  }

  private line(row: ChildRow): HTMLElement {
    const open = h('button', { type: 'button', class: 'pnb-link' }, row.label);
    open.addEventListener('click', () => this.events.open(row));
    return h(
      'tr',
      { 'data-child': row.index, 'data-state': row.state, 'aria-rowindex': row.index + 2 },
      h('th', { scope: 'row' }, open),
      h('td', {}, new Mark(lookOf(row.state, row.type)).node, ` ${row.state}`),
      h('td', {}, row.attempt ? `${row.attempt}/${row.attempts}` : ''),
      h('td', {}, duration(row.duration_s)),
      h('td', { title: row.message }, row.message)
    );
  }

  /** A stripe for each item, the worst of those that share a pixel on top. */
  private paint({ strip, total, counts }: Children): void {
    const context = this.strip.getContext('2d');
    const words = Object.entries(counts).map(([state, number]) => `${number} ${lookOf(state).words}`);
    this.strip.setAttribute('aria-label', `states of ${total} items: ${words.join(', ')}`);
    if (!context || !total) {
      return;
    }
    const { width, height } = this.strip;
    const style = getComputedStyle(this.strip);
    context.clearRect(0, 0, width, height);
    const grave = ['failed', 'cancelled', 'paused', 'running'];
    const weight = (state: string): number => grave.indexOf(lookOf(state).tone);
    let at = 0;
    const stripes = strip.map(([state, number]) => ({ state, from: at, to: (at += number) }));
    const calm = stripes.filter(({ state }) => weight(state) < 0);
    const loud = stripes.filter(({ state }) => weight(state) >= 0).sort((a, b) => weight(b.state) - weight(a.state));
    for (const { state, from, to } of [...calm, ...loud]) {
      const x = (from / total) * width;
      const tone = lookOf(state).tone;
      context.fillStyle = style.getPropertyValue(weight(state) >= 0 ? `--l-${tone}` : `--f-${tone}`);
      context.fillRect(x, 0, Math.max(weight(state) >= 0 ? 2 : 0, ((to - from) / total) * width), height);
    }
  }

  private drawChips(counts: Counts): void {
    const chips = Object.entries(counts).map(([state, number]) => {
      const pressed = this.picked.has(state);
      const chip = h('button', { type: 'button', class: 'pnb-filter', 'aria-pressed': String(pressed) });
      chip.append(new Mark(lookOf(state)).node, ` ${state} ${number}`);
      chip.addEventListener('click', () => {
        if (!this.picked.delete(state)) {
          this.picked.add(state);
        }
        chip.setAttribute('aria-pressed', String(this.picked.has(state)));
        this.again();
      });
      return chip;
    });
    this.chips.replaceChildren(...chips);
  }

  private order(sort: ChildSort): void {
    this.descending = sort === this.sort ? !this.descending : sort !== 'index';
    this.sort = sort;
    for (const [name, cell] of this.heads) {
      cell.setAttribute('aria-sort', name !== sort ? 'none' : this.descending ? 'descending' : 'ascending');
    }
    this.again();
  }

  /** Ask for what came into sight, with room above and below. */
  private scrolled(): void {
    const { found } = this;
    const first = Math.floor(this.scroller.scrollTop / LINE);
    if (found && (first < found.offset || first + SHOWN + 1 > Math.min(found.matched, found.offset + WINDOW))) {
      this.offset = Math.max(0, first - Math.floor((WINDOW - SHOWN) / 2));
      if (this.offset !== found.offset) {
        this.soon(60);
      }
    }
  }
}
