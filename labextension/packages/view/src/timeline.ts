/** The timeline: when each task ran, on one axis, with how many ran at a time above; only what is in sight exists. */

import { listed, type Row } from './cards.js';
import { h, s, setText } from './dom.js';
import { lookOf } from './palette.js';
import type { ViewModel } from './protocol.js';
import { VirtualRows } from './rows.js';
import { duration, spoken } from './words.js';

const LINE = 26;
const COLUMNS = 400;
const STEPS = [0.001, 0.01, 0.1, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400];

interface Bar {
  row: Row;
  depth: number;
  from: number | null;
  to: number | null;
}

export class Timeline {
  readonly node = h('div', { class: 'pnb-timeline' });
  private readonly axis = h('div', { class: 'pnb-axis', 'aria-hidden': 'true' });
  private readonly lane = s('svg', { class: 'pnb-lane', 'aria-hidden': 'true', preserveAspectRatio: 'none' });
  private readonly busy = h('div', { class: 'pnb-dim pnb-busy' });
  private readonly list: VirtualRows<Bar>;
  private fits: ((row: Row) => boolean) | null = null;
  private selected: string | null = null;
  private model: ViewModel | null = null;
  private from = 0;
  private span = 1;

  constructor(private readonly select: (id: string) => void) {
    this.list = new VirtualRows<Bar>(LINE, 'timeline', bar => this.line(bar));
    this.node.append(h('div', { class: 'pnb-timehead' }, this.busy, this.lane), this.axis, this.list.node);
  }

  /** Draw; `live` lets what runs grow to now. */
  draw(model: ViewModel, live: boolean): void {
    this.model = model;
    const now = live ? Date.now() / 1000 : (model.run.ended_at ?? null);
    const bars = listed(model)
      .filter(({ row }) => row.id === row.node.id && (!this.fits || this.fits(row)))
      .map(({ row, depth }): Bar => {
        const { started_at: from, duration_s: took, type } = row.node;
        const to = from === null ? null : took !== null ? from + took : type === 'RUNNING' ? now : from;
        return { row, depth, from, to };
      });
    const begun = bars.flatMap(({ from }) => (from === null ? [] : [from]));
    const ended = bars.flatMap(({ to }) => (to === null ? [] : [to]));
    this.from = begun.reduce((least, at) => Math.min(least, at), Infinity);
    this.span = Math.max(0.001, ended.reduce((most, at) => Math.max(most, at), -Infinity) - this.from);
    if (!begun.length) {
      this.from = 0;
      this.span = 1;
    }
    this.drawAxis(begun.length > 0);
    this.drawLane(bars);
    this.list.show(bars);
  }

  filter(fits: ((row: Row) => boolean) | null): void {
    this.fits = fits;
  }

  mark(id: string | null): void {
    this.selected = id;
    this.list.redraw();
  }

  private line({ row, depth, from, to }: Bar): HTMLElement {
    const { node } = row;
    const look = lookOf(node.state, node.type, node.kind);
    const name = h('span', { class: 'pnb-barname', 'aria-hidden': 'true' }, row.label);
    name.style.paddingInlineStart = `${depth * 12}px`;
    const track = h('span', { class: 'pnb-track', 'aria-hidden': 'true' });
    if (from !== null && to !== null) {
      const left = ((from - this.from) / this.span) * 100;
      const bar = h('span', { class: 'pnb-bar-box' });
      bar.style.left = `${left}%`;
      bar.style.width = `${Math.max(0, ((to - from) / this.span) * 100)}%`;
      bar.style.background = `var(--f-${look.tone})`;
      bar.style.borderColor = `var(--l-${look.tone})`;
      bar.dataset['tone'] = look.tone;
      const words = duration(to - from) + (node.attempt > 1 ? ` · ${node.attempt}/${node.attempts}` : '');
      const said = h('span', { class: 'pnb-barwords' }, words);
      said.style[left > 70 ? 'right' : 'left'] = left > 70 ? `${100 - left}%` : `${left}%`;
      track.append(bar, said);
    } else {
      track.append(h('span', { class: 'pnb-dim' }, node.state));
    }
    const line = h('button', {
      type: 'button',
      class: 'pnb-barline',
      'data-node': row.id,
      'data-state': node.state,
      'aria-pressed': String(row.id === this.selected),
      'aria-label': spoken(node, []),
      title: spoken(node, [])
    });
    line.addEventListener('click', () => this.select(row.id));
    return h('div', { class: 'pnb-barrow' }, line, name, track);
  }

  private drawAxis(any: boolean): void {
    const step = STEPS.find(one => this.span / one <= 6) ?? this.span / 6;
    const ticks: HTMLElement[] = [];
    for (let at = 0; any && at <= this.span; at += step) {
      const tick = h('span', {}, at ? `+${duration(at)}` : clock(this.from));
      tick.style.left = `${(at / this.span) * 100}%`;
      if (at / this.span < 0.93) {
        ticks.push(tick);
      }
    }
    this.axis.replaceChildren(...ticks);
  }

  /** How many ran at a time, in so many columns that a task is counted where it touches one. */
  private drawLane(bars: Bar[]): void {
    const turns = new Array<number>(COLUMNS + 2).fill(0);
    const column = (at: number): number => Math.floor(((at - this.from) / this.span) * COLUMNS);
    for (const { from, to } of bars) {
      if (from !== null && to !== null) {
        turns[column(from)] = (turns[column(from)] ?? 0) + 1;
        turns[column(to) + 1] = (turns[column(to) + 1] ?? 0) - 1;
      }
    }
    let open = 0;
    let most = 0;
    let path = 'M0 0';
    turns.slice(0, COLUMNS + 1).forEach((by, x) => {
      if (by) {
        open += by;
        most = Math.max(most, open);
        path += `H${x}V${open}`;
      }
    });
    path += `H${COLUMNS}`;
    this.lane.setAttribute('viewBox', `0 0 ${COLUMNS} ${Math.max(1, most)}`);
    this.lane.replaceChildren(
      s('path', { d: `${path}V0Z`, class: 'pnb-lanepath', transform: `matrix(1 0 0 -1 0 ${Math.max(1, most)})` })
    );
    setText(this.busy, most ? `about ${most} at a time` : this.model?.nodes.length ? 'nothing has run' : '');
  }
}

function clock(at: number): string {
  return new Date(at * 1000).toLocaleTimeString([], { hour12: false });
}
