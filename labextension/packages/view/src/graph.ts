/** The graph: cards and links in SVG. A change of state dresses nodes anew and moves nothing. */

import { dress, drawGlyph } from './badge.js';
import {
  arrange,
  BOLD,
  fitText,
  HEAD,
  ROW,
  routePath,
  rowIndex,
  type Card,
  type Direction,
  type Row
} from './cards.js';
import { OWN_KEYS, s, setText } from './dom.js';
import { GLYPHS, lookOf } from './palette.js';
import type { Counts, NodeView, ViewModel } from './protocol.js';
import { duration, nodeLine, shares, spoken, tally } from './words.js';

const MARGIN = 18;
const TALLEST = 720;
/** Text for the eye, over its button and outside of it: the button's name says the same and more. */
const SEEN = { class: 'pnb-seen', 'aria-hidden': 'true' };
const LEAST_FIT = 0.75;

export interface GraphEvents {
  select(id: string): void;
  open(id: string): void;
}

interface Drawn {
  group: SVGGElement;
  refresh(row: Row, now: number | null): void;
  x: number;
  y: number;
}

export class Graph {
  readonly node: SVGSVGElement;
  direction: Direction = 'down';
  private readonly sheet = s('g');
  private readonly drawn = new Map<string, Drawn>();
  private links: { source: string; target: string; group: SVGGElement }[] = [];
  private rows = new Map<string, Row>();
  private upstream = new Map<string, string[]>();
  private size = { width: 0, height: 0 };
  private view = { x: 0, y: 0, scale: 1 };
  private current = '';
  private chosen: string | null = null;
  private touched = false;
  /** Whether clocks may be shown: somebody says that what runs still runs. */
  live = true;

  constructor(private readonly events: GraphEvents) {
    this.node = s('svg', { class: 'pnb-graph', role: 'group' }, this.sheet);
    this.listen();
  }

  /** Draw everything; needed when nodes or edges changed. */
  draw(model: ViewModel): void {
    const drawing = arrange(model, this.direction);
    this.size = { width: drawing.width + 2 * MARGIN, height: drawing.height + 2 * MARGIN };
    this.index(model);
    this.drawn.clear();
    const links = s('g', { class: 'pnb-links', 'aria-hidden': 'true', transform: `translate(${MARGIN} ${MARGIN})` });
    this.links = drawing.links.map(link => {
      const [x, y] = link.points[link.points.length - 1] ?? [0, 0];
      const head = drawing.direction === 'down' ? `M${x} ${y}l-4 -7h8z` : `M${x} ${y}l-7 -4v8z`;
      const dash = link.kind === 'after' ? '4 4' : undefined;
      const group = s(
        'g',
        {},
        link.names.length ? s('title', {}, link.names.join(', ')) : null,
        s('path', { class: 'pnb-wire', d: routePath(link.points, drawing.direction), 'stroke-dasharray': dash }),
        s('path', { class: 'pnb-head', d: head })
      );
      links.append(group);
      return { source: link.source, target: link.target, group };
    });
    const cards = s('g');
    for (const card of drawing.cards) {
      cards.append(this.card(card));
    }
    this.sheet.replaceChildren(links, cards);
    this.node.setAttribute('aria-label', `graph of ${model.run.flow}`);
    this.refresh(model, null);
    if (!this.drawn.has(this.current)) {
      this.current = drawing.cards[0]?.node.id ?? '';
    }
    this.rove(this.current, false);
  }

  /** Show the states of a model with the same shape; `changed` names the nodes, null means all. */
  refresh(model: ViewModel, changed: ReadonlySet<string> | null): void {
    this.index(model);
    const now = this.live ? Date.now() / 1000 : null;
    for (const [id, drawn] of this.drawn) {
      const row = this.rows.get(id);
      if (row && (changed === null || changed.has(row.node.id) || row.counts)) {
        drawn.refresh(row, now);
      }
    }
  }

  /** Move the clocks of what runs; whether anything does. */
  tick(): boolean {
    const now = Date.now() / 1000;
    let alive = false;
    for (const [id, drawn] of this.drawn) {
      const row = this.rows.get(id);
      if (row && (row.node.due_at !== null || (row.node.type === 'RUNNING' && row.node.started_at !== null))) {
        drawn.refresh(row, now);
        alive = true;
      }
    }
    return alive;
  }

  /** The first node that fits. */
  first(fits: (row: Row) => boolean): string | null {
    for (const id of this.drawn.keys()) {
      const row = this.rows.get(id);
      if (row && fits(row)) {
        return id;
      }
    }
    return null;
  }

  /** Dim what a filter leaves out; null dims nothing. */
  dim(fits: ((row: Row) => boolean) | null): void {
    for (const [id, drawn] of this.drawn) {
      const row = this.rows.get(id);
      drawn.group.classList.toggle('pnb-dimmed', fits !== null && row !== undefined && !fits(row));
    }
  }

  select(id: string | null): void {
    this.chosen = id;
    for (const [key, drawn] of this.drawn) {
      drawn.group.classList.toggle('pnb-selected', key === id);
      drawn.group.setAttribute('aria-pressed', String(key === id));
    }
    if (id !== null && this.drawn.has(id)) {
      this.rove(id, false);
    }
    this.light(id);
  }

  /** Show all of it where that stays readable, else its width, else a readable part. */
  fit(): void {
    this.touched = false;
    const width = this.node.clientWidth;
    if (!width || !this.size.width) {
      return;
    }
    let scale = Math.min(1, width / this.size.width);
    if (this.size.height * scale > TALLEST) {
      scale = Math.min(scale, Math.max(LEAST_FIT, TALLEST / this.size.height));
    }
    scale = Math.max(scale, 0.25);
    this.node.style.height = `${Math.max(90, Math.min(TALLEST, Math.ceil(this.size.height * scale)))}px`;
    this.view = { scale, x: Math.max(0, (width - this.size.width * scale) / 2), y: 0 };
    this.paint();
  }

  /** After the room changed: fit again, unless a person moved the picture. */
  resized(): void {
    if (!this.touched) {
      this.fit();
    }
  }

  zoom(factor: number, at?: { x: number; y: number }): void {
    const { x, y } = at ?? { x: this.node.clientWidth / 2, y: this.node.clientHeight / 2 };
    const scale = Math.max(0.15, Math.min(2.5, this.view.scale * factor));
    const ratio = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this.touched = true;
    this.paint();
  }

  focus(): void {
    this.drawn.get(this.current)?.group.focus();
  }

  get focused(): string {
    return this.current;
  }

  row(id: string): Row | undefined {
    return this.rows.get(id);
  }

  private index(model: ViewModel): void {
    this.rows = rowIndex(model);
    const labels = new Map(model.nodes.map(node => [node.id, node.label]));
    this.upstream = new Map();
    for (const edge of model.edges) {
      const list = this.upstream.get(edge.target) ?? [];
      list.push(labels.get(edge.source) ?? edge.source);
      this.upstream.set(edge.target, list);
    }
  }

  private card(card: Card): SVGGElement {
    const { width, height } = card;
    const radius = card.node.kind === 'plain' ? 4 : 9;
    const box = s('rect', { class: 'pnb-box', width, height, rx: radius });
    const inner = s('rect', {
      class: 'pnb-inner',
      x: 3,
      y: 3,
      width: width - 6,
      height: height - 6,
      rx: Math.max(2, radius - 3)
    });
    const ring = s('rect', { class: 'pnb-ring', x: -4, y: -4, width: width + 8, height: height + 8, rx: radius + 4 });
    const glyph = s('path', { class: 'pnb-glyph', transform: 'translate(12 15)' });
    const arcs = s('g', { class: 'pnb-arcs', transform: 'rotate(-90 20 23)' });
    const label = s('text', { class: 'pnb-bold', x: 38, y: 20 });
    const line = s('text', { class: 'pnb-small', x: 38, y: 36 });
    const badge = s('text', { class: 'pnb-small pnb-bold', 'text-anchor': 'end', y: 20 });
    const stale = s(
      'g',
      { class: 'pnb-stale' },
      s('path', { d: `M${width - 24} 0h15a9 9 0 0 1 9 9v15z` }),
      s('path', { class: 'pnb-glyph', transform: `translate(${width - 14.5} 1) scale(.8)`, d: GLYPHS['tilde'] })
    );
    const far = { class: 'pnb-bar', x: 38, y: 41, height: 3, rx: 1.5 };
    const bars = [s('rect', { ...far, width: width - 46, opacity: 0.2 }), s('rect', far)] as const;
    const title = s('title');
    const group = this.focusable(card.node.id);
    group.append(ring, box, inner, stale, arcs, glyph, ...bars);
    const place = `translate(${card.x + MARGIN} ${card.y + MARGIN})`;
    const whole = s('g', { transform: place }, title, group, s('g', SEEN, label, line, badge));
    const refresh = (row: Row, now: number | null): void => {
      const node = row.node;
      const look = lookOf(node.state, node.type, node.kind);
      dress(box, inner, look);
      drawGlyph(glyph, look);
      drawArcs(arcs, node.counts);
      glyph.setAttribute('transform', arcs.childElementCount ? 'translate(14 17) scale(.75)' : 'translate(12 15)');
      const tries = node.attempt > 1 ? `${node.attempt}/${node.attempts}` : '';
      const old = node.freshness.startsWith('stale');
      const room = width - 48 - (tries ? tries.length * 7.5 + 8 : 0) - (old ? 20 : 0);
      setText(label, fitText(node.label, room, BOLD));
      setText(line, fitText(lineOf(node, now), width - 46, 11.5));
      setText(badge, tries);
      const share = node.progress?.share ?? null;
      for (const [at, bar] of bars.entries()) {
        bar.style.display = share === null ? 'none' : '';
        if (at) {
          bar.setAttribute('width', String((width - 46) * (share ?? 0)));
        }
      }
      badge.setAttribute('x', String(width - (old ? 28 : 12)));
      stale.style.display = old ? '' : 'none';
      this.name(group, title, node, spoken(node, this.upstream.get(node.id) ?? []), look.tone);
    };
    this.drawn.set(card.node.id, { group, refresh, x: card.x + width / 2, y: card.y + HEAD / 2 });
    card.rows.forEach((row, index) => whole.append(this.line(card, row, index)));
    if (card.more) {
      const y = HEAD + ROW * card.rows.length + 14;
      whole.append(s('g', SEEN, s('text', { class: 'pnb-small', x: 38, y }, `and ${card.more} more`)));
    }
    return whole;
  }

  private line(card: Card, row: Row, index: number): SVGGElement {
    const { width } = card;
    const top = HEAD + ROW * index;
    const box = s('rect', { width: 16, height: 16, rx: 5 });
    const inner = s('rect', { class: 'pnb-inner', x: 2.5, y: 2.5, width: 11, height: 11, rx: 3 });
    const glyph = s('path', { class: 'pnb-glyph', transform: 'translate(2.4 2.4) scale(.7)' });
    const said = s('text', { class: 'pnb-small', 'text-anchor': 'end', x: width - 12, y: 14 });
    const title = s('title');
    const group = this.focusable(row.id);
    group.append(
      s('line', { class: 'pnb-rule', x1: 10, x2: width - 10, y1: -2, y2: -2 }),
      s('rect', { class: 'pnb-ring', x: 5, y: -0.5, width: width - 10, height: ROW - 2, rx: 6 }),
      s('g', { transform: 'translate(13 1.5)' }, box, inner, glyph)
    );
    const label = s('text', { class: 'pnb-small', x: 38, y: 14 }, fitText(row.label, width - 112, 11.5));
    const whole = s('g', { transform: `translate(0 ${top})` }, title, group, s('g', SEEN, label, said));
    const refresh = (fresh: Row, now: number | null): void => {
      const node = fresh.node;
      const look = lookOf(node.state, node.type);
      dress(box, inner, look);
      drawGlyph(glyph, look);
      setText(said, fresh.counts ? tally(fresh.counts) : elapsed(node, now) || duration(node.duration_s) || node.state);
      const words = fresh.counts ? `${fresh.label}, ${tally(fresh.counts)}: ${look.words}` : spoken(node, []);
      this.name(group, title, node, words, look.tone);
    };
    this.drawn.set(row.id, { group, refresh, x: card.x + width / 2, y: card.y + top + ROW / 2 });
    return whole;
  }

  private focusable(id: string): SVGGElement {
    return s('g', {
      class: 'pnb-node',
      ...OWN_KEYS,
      'data-node': id,
      role: 'button',
      tabindex: -1,
      'aria-pressed': 'false'
    });
  }

  private name(group: SVGGElement, title: SVGTitleElement, node: NodeView, words: string, tone: string): void {
    group.dataset['state'] = node.state;
    group.dataset['tone'] = tone;
    group.setAttribute('aria-label', words);
    setText(title, node.reason ? `${words}\n${node.reason}` : words);
  }

  private rove(id: string, focus: boolean): void {
    this.drawn.get(this.current)?.group.setAttribute('tabindex', '-1');
    const next = this.drawn.get(id);
    if (next) {
      this.current = id;
      next.group.setAttribute('tabindex', '0');
      if (focus) {
        next.group.focus({ preventScroll: true });
        this.reveal(next);
      }
    }
  }

  /** Pan just enough to have a node in sight. */
  private reveal(drawn: Drawn): void {
    const { scale } = this.view;
    const x = (drawn.x + MARGIN) * scale + this.view.x;
    const y = (drawn.y + MARGIN) * scale + this.view.y;
    const edge = (value: number, room: number): number =>
      value < 60 ? 60 - value : value > room - 60 ? room - 60 - value : 0;
    const dx = edge(x, this.node.clientWidth);
    const dy = edge(y, this.node.clientHeight);
    if (dx || dy) {
      this.view.x += dx;
      this.view.y += dy;
      this.paint();
    }
  }

  /** The nearest node in the direction of an arrow key; linked nodes count as nearer. */
  private walk(key: string): void {
    const from = this.drawn.get(this.current);
    if (!from) {
      return;
    }
    const [dx, dy] = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[key] ?? [0, 0];
    const linked = new Set(this.links.flatMap(link => this.otherEnd(link)));
    let best = '';
    let least = Infinity;
    for (const [id, to] of this.drawn) {
      const along = (to.x - from.x) * (dx ?? 0) + (to.y - from.y) * (dy ?? 0);
      const aside = Math.abs((to.x - from.x) * (dy ?? 0)) + Math.abs((to.y - from.y) * (dx ?? 0));
      const cost = (along + 2 * aside) * (linked.has(id) ? 0.3 : 1);
      if (id !== this.current && along > 4 && cost < least) {
        best = id;
        least = cost;
      }
    }
    if (best) {
      this.rove(best, true);
    }
  }

  private otherEnd(link: { source: string; target: string }): string[] {
    return link.source === this.current ? [link.target] : link.target === this.current ? [link.source] : [];
  }

  /** Bring out the links of one node. */
  private light(id: string | null): void {
    for (const link of this.links) {
      link.group.classList.toggle('pnb-hot', id !== null && (link.source === id || link.target === id));
    }
  }

  private paint(): void {
    const { x, y, scale } = this.view;
    this.sheet.setAttribute('transform', `translate(${x} ${y}) scale(${scale})`);
    this.node.classList.toggle('pnb-far', scale < 0.45);
  }

  private listen(): void {
    const target = (event: Event): string | null =>
      (event.target as Element).closest<SVGGElement>('[data-node]')?.dataset['node'] ?? null;
    this.node.addEventListener('keydown', event => {
      if (event.key.startsWith('Arrow') && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        this.walk(event.key);
      }
    });
    this.node.addEventListener('focusin', event => {
      const id = target(event);
      if (id !== null) {
        this.rove(id, false);
        this.light((event.target as Element).matches(':focus-visible') ? id : this.chosen);
      }
    });
    this.node.addEventListener('pointerover', event => this.light(target(event) ?? this.chosen));
    this.node.addEventListener('pointerleave', () => this.light(this.chosen));
    this.node.addEventListener('dblclick', event => {
      const id = target(event);
      if (id !== null) {
        this.events.open(id);
      }
    });
    this.node.addEventListener(
      'wheel',
      event => {
        if (event.ctrlKey || event.metaKey) {
          event.preventDefault();
          const room = this.node.getBoundingClientRect();
          this.zoom(Math.exp(-event.deltaY / 300), { x: event.clientX - room.left, y: event.clientY - room.top });
        }
      },
      { passive: false }
    );
    let drag: { x: number; y: number; moved: boolean } | null = null;
    this.node.addEventListener('pointerdown', event => {
      if (event.button === 0) {
        drag = { x: event.clientX, y: event.clientY, moved: false };
      }
    });
    this.node.addEventListener('pointermove', event => {
      if (!drag || !(event.buttons & 1)) {
        return;
      }
      const dx = event.clientX - drag.x;
      const dy = event.clientY - drag.y;
      if (!drag.moved && Math.hypot(dx, dy) < 5) {
        return;
      }
      if (!drag.moved) {
        this.node.setPointerCapture(event.pointerId);
      }
      drag = { x: event.clientX, y: event.clientY, moved: true };
      this.view.x += dx;
      this.view.y += dy;
      this.touched = true;
      this.paint();
    });
    this.node.addEventListener('click', event => {
      const moved = drag?.moved ?? false;
      drag = null;
      const id = target(event);
      if (id !== null && !moved) {
        this.rove(id, false);
        this.events.select(id);
      }
    });
  }
}

/** Around the glyph of a map or group: an arc for each kind of state among its members. */
function drawArcs(arcs: SVGGElement, counts: Counts | null): void {
  const found = counts ? shares(counts) : [];
  const key = JSON.stringify(found);
  if (arcs.dataset['shown'] === key) {
    return;
  }
  arcs.dataset['shown'] = key;
  arcs.replaceChildren(
    ...found.map(([tone, start, share]) => {
      const arc = s('circle', { class: 'pnb-arc', cx: 20, cy: 23, r: 11, pathLength: 100, 'data-tone': tone });
      arc.style.stroke = `var(--l-${tone})`;
      arc.style.strokeDasharray = `${share} ${100 - share}`;
      arc.style.strokeDashoffset = String(-start);
      return arc;
    })
  );
}

/** The second line of a card now: what runs counts up, what waits for its retry counts down. */
export function lineOf(node: NodeView, now: number | null): string {
  const clock = elapsed(node, now);
  if (clock) {
    return `${nodeLine({ ...node, duration_s: null })} · ${clock}`;
  }
  if ((node.type === 'FAILED' || node.type === 'CRASHED') && node.message && !node.counts) {
    return `${node.state} · ${node.message}`;
  }
  return nodeLine(node);
}

function elapsed(node: NodeView, now: number | null): string {
  if (now === null) {
    return '';
  }
  if (node.due_at !== null && (node.type === 'SCHEDULED' || node.type === 'PAUSED')) {
    const left = Math.ceil(node.due_at - now);
    return left > 0 ? `in ${seconds(left)}` : 'due';
  }
  if (node.type === 'RUNNING' && node.started_at !== null) {
    return seconds(Math.max(0, Math.floor(now - node.started_at)));
  }
  return '';
}

/** Whole seconds: a clock that ticks shows no tenths. */
function seconds(whole: number): string {
  return whole < 60 ? `${whole} s` : duration(whole);
}
