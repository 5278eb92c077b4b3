/** The live view of one flow: bar, graph or list, details. Plain DOM; whoever mounts it carries the messages. */

import { Mark } from './badge.js';
import type { Direction, Row } from './cards.js';
import { h, setText } from './dom.js';
import { fold, refold, type Folded } from './fold.js';
import { Graph } from './graph.js';
import { List } from './list.js';
import { localChildren } from './local.js';
import { LOOKS, lookOf } from './palette.js';
import { Pane } from './pane.js';
import { applyPatch, sameShape } from './patch.js';
import {
  isPatch,
  type Action,
  type ChildQuery,
  type ChildRow,
  type Children,
  type Command,
  type Details,
  type NodeView,
  type Notice,
  type Reply,
  type RunAction,
  type Update,
  type ViewModel
} from './protocol.js';
import { Timeline } from './timeline.js';
import { followTheme, type Theme } from './theme.js';
import { duration } from './words.js';

export interface MountOptions {
  model: ViewModel;
  /** Carries a command to the kernel or the page; may tell the answer. */
  send(command: Command): void | Promise<Reply | null | void>;
  /** A double click or a link wants to see the cell. */
  reveal?(node: NodeView): void;
  theme?: Theme;
  /** False for a saved model that nobody feeds yet: its clocks stand still until the first update. */
  live?: boolean;
}

export interface Mounted {
  /** False when a message was missed: ask for a snapshot. */
  update(update: Update): boolean;
  dispose(): void;
}

const BUSY = 'Kernel busy: this will apply when the running cell ends.';
const PATIENCE = 2000;
const KEYS: readonly (readonly [string, string])[] = [
  ['Arrow keys', 'walk the graph'],
  ['Enter', 'details'],
  ['Space', 'select'],
  ['r', 'run or retry'],
  ['Shift+r', 'run downstream'],
  ['a', 'approve'],
  ['x', 'cancel'],
  ['f', 'fit the graph'],
  ['+ and −', 'zoom (also Ctrl+wheel)'],
  ['/', 'search'],
  ['Esc', 'close'],
  ['?', 'this help']
];

type Mode = 'graph' | 'timeline' | 'list';
const MODES: readonly (readonly [Mode, string])[] = [
  ['graph', 'Graph'],
  ['timeline', 'Timeline'],
  ['list', 'List']
];
const RUN_WORDS: Record<RunAction, readonly [string, string]> = {
  'cancel-run': ['Cancel run', 'Press again to cancel the run'],
  'resume-run': ['Resume run', '']
};

export function mount(host: HTMLElement, options: MountOptions): Mounted {
  return new FlowView(host, options);
}

class FlowView implements Mounted {
  private readonly root = h('div', { class: 'pnb' });
  private readonly flow = h('strong', { class: 'pnb-flow' });
  private readonly chipMark = new Mark(lookOf('Open'));
  private readonly chipText = h('span');
  private readonly counts = h('span', { class: 'pnb-counts' });
  private readonly banner = h('div', { class: 'pnb-banner', role: 'status', hidden: true });
  private readonly live = h('div', { class: 'pnb-hidden', 'aria-live': 'polite' });
  private readonly legend = h('ul', { class: 'pnb-legend', 'aria-label': 'legend' });
  private readonly help = h('div', { class: 'pnb-help', role: 'note', hidden: true });
  private readonly stage = h('div', { class: 'pnb-stage' });
  private readonly graph: Graph;
  private readonly list: List;
  private readonly pane: Pane;
  private readonly ends: (() => void)[] = [];
  private readonly timeline: Timeline;
  private readonly runButtons = h('span', { class: 'pnb-actions' });
  private readonly search = h('input', {
    type: 'search',
    class: 'pnb-search',
    placeholder: 'Search',
    'aria-label': 'search tasks',
    'data-lm-suppress-shortcuts': 'true'
  });
  private readonly picked = new Set<string>();
  private readonly unfolded = new Set<string>();
  private readonly switches = new Map<Mode, HTMLButtonElement>();
  private readonly turn = this.icon('Flow to the right', '⇄', () => this.setDirection());
  private model: ViewModel;
  private folded: Folded;
  private mode: Mode = 'graph';
  private child: ChildRow | null = null;
  private selected: string | null = null;
  private asked = '';
  private seen = '';
  private stale = false;
  private found: ((row: Row) => boolean) | null = null;
  private fed: boolean;
  private said: string[] = [];
  private speaking: ReturnType<typeof setTimeout> | undefined;

  constructor(
    host: HTMLElement,
    private readonly options: MountOptions
  ) {
    this.model = options.model;
    this.folded = fold(options.model);
    this.fed = options.live ?? true;
    this.graph = new Graph({ select: id => this.select(id, null), open: id => this.reveal(id) });
    const act = (action: Action, node: NodeView): void => this.act(action, node);
    this.list = new List({ select: id => this.select(id, null), act });
    this.timeline = new Timeline(id => this.select(id, null));
    this.pane = new Pane({
      act,
      close: () => this.clear(),
      children: (task, query) => this.children(task, query),
      openChild: row => this.openChild(row),
      back: () => this.selected !== null && this.select(this.selected, null),
      unfold: id => this.unfold(id)
    });
    this.graph.live = this.fed;
    this.build(host);
    this.ends.push(followTheme(this.root, options.theme));
    const watcher = new ResizeObserver(() => this.graph.resized());
    watcher.observe(this.stage);
    const timer = setInterval(() => this.tick(), 1000);
    this.ends.push(
      () => watcher.disconnect(),
      () => clearInterval(timer),
      () => clearTimeout(this.speaking)
    );
    this.redraw();
  }

  update(update: Update): boolean {
    if ('details' in update) {
      this.pane.show(update.details);
    } else if ('notice' in update) {
      this.notice(update.notice);
    } else if (isPatch(update)) {
      const next = applyPatch(this.model, update);
      if (!next) {
        return false;
      }
      this.show(next);
    } else {
      this.show(update);
    }
    return true;
  }

  dispose(): void {
    for (const end of this.ends) {
      end();
    }
    this.root.remove();
  }

  private build(host: HTMLElement): void {
    const views = h('div', { class: 'pnb-switch', role: 'group', 'aria-label': 'view' });
    for (const [mode, text] of MODES) {
      const button = h('button', { type: 'button' }, text);
      button.addEventListener('click', () => this.setMode(mode));
      this.switches.set(mode, button);
      views.append(button);
    }
    const chip = h('span', { class: 'pnb-chip' }, this.chipMark.node, this.chipText);
    const bar = h(
      'div',
      { class: 'pnb-bar', role: 'toolbar', 'aria-label': 'flow' },
      this.flow,
      chip,
      this.counts,
      this.runButtons,
      h('span', { class: 'pnb-space' }),
      this.search,
      views,
      this.turn,
      this.icon('Fit the graph', '⤢', () => this.graph.fit()),
      this.icon('Keys', '?', () => this.toggleHelp())
    );
    const keys = KEYS.flatMap(([key, words]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, words)]);
    this.help.append(h('dl', {}, ...keys));
    const body = h('div', { class: 'pnb-body' }, this.stage, this.pane.node);
    this.root.append(bar, this.banner, this.help, body, this.legend, this.live);
    this.root.addEventListener('keydown', event => this.key(event));
    this.search.addEventListener('input', () => this.refilter());
    this.search.addEventListener('keydown', event => this.searchKey(event));
    host.append(this.root);
    this.setMode('graph');
  }

  private icon(label: string, sign: string, act: () => void): HTMLButtonElement {
    const button = h('button', { type: 'button', class: 'pnb-icon', 'aria-label': label, title: label }, sign);
    button.addEventListener('click', act);
    return button;
  }

  private show(next: ViewModel): void {
    const before = this.model;
    this.model = next;
    this.fed = true;
    this.graph.live = true;
    if (!sameShape(before, next)) {
      this.redraw();
    } else {
      const old = new Map(before.nodes.map(node => [node.id, node]));
      const changed = new Set(next.nodes.filter(node => old.get(node.id) !== node).map(node => node.id));
      this.folded = refold(this.folded, next);
      this.graph.refresh(this.folded.model, changed);
      this.refreshRest();
    }
    this.speak(before, next);
  }

  private redraw(): void {
    this.folded = fold(this.model, this.unfolded);
    this.graph.draw(this.folded.model);
    this.graph.fit();
    this.graph.select(this.selected);
    this.refreshRest();
  }

  private refreshRest(): void {
    const { run, counts, saved_s: saved } = this.model;
    setText(this.flow, run.flow);
    this.root.dataset['run'] = run.id;
    this.root.dataset['runState'] = run.state;
    this.chipMark.show(lookOf(run.state, run.type));
    setText(this.chipText, run.state);
    const total = Object.values(counts).reduce((sum, number) => sum + number, 0);
    const words = [`${counts['COMPLETED'] ?? 0} of ${total} done`];
    for (const [type, word] of [
      ['RUNNING', 'running'],
      ['PAUSED', 'waiting'],
      ['FAILED', 'failed'],
      ['CRASHED', 'crashed']
    ] as const) {
      if (counts[type]) {
        words.push(`${counts[type]} ${word}`);
      }
    }
    if (saved >= 0.0005) {
      words.push(`saved ${duration(saved)}`);
    }
    if (run.started_at !== null && run.ended_at !== null) {
      words.push(`took ${duration(run.ended_at - run.started_at)}`);
    }
    setText(this.counts, words.join(' · '));
    this.counts.title = run.order_known
      ? ''
      : 'Order of first execution: the page has not told the order of the cells.';
    this.drawLegend();
    this.drawRunButtons();
    this.refilter();
    const row = this.selected === null ? undefined : this.row(this.selected);
    if (row && this.child === null) {
      this.pane.refresh(row);
      this.askDetails(row);
    } else if (row && this.child !== null) {
      this.askChild(this.child);
    } else if (this.selected !== null) {
      this.clear();
    }
  }

  private drawLegend(): void {
    const present = new Set(
      this.model.nodes.filter(node => node.kind !== 'plain' || node.state !== 'Pending').map(node => node.state)
    );
    const labels = Object.keys(LOOKS).filter(label => present.has(label));
    if (this.legend.dataset['shown'] !== labels.join()) {
      this.legend.dataset['shown'] = labels.join();
      for (const label of this.picked) {
        if (!present.has(label)) {
          this.picked.delete(label);
        }
      }
      this.legend.replaceChildren(...labels.map(label => h('li', {}, this.filterChip(label))));
    }
  }

  /** A swatch of the legend, which shows only its state when pressed. */
  private filterChip(label: string): HTMLButtonElement {
    const chip = h('button', { type: 'button', class: 'pnb-filter', 'data-filter': label });
    chip.setAttribute('aria-pressed', String(this.picked.has(label)));
    chip.title = `Show only ${label}`;
    chip.append(new Mark(lookOf(label)).node, label);
    chip.addEventListener('click', () => {
      if (!this.picked.delete(label)) {
        this.picked.add(label);
      }
      chip.setAttribute('aria-pressed', String(this.picked.has(label)));
      this.refilter();
    });
    return chip;
  }

  /** What search and state filter leave: dimmed in the graph, left out elsewhere. */
  private refilter(): void {
    const text = this.search.value.trim().toLowerCase();
    const { picked } = this;
    const state = ({ node, counts }: Row): boolean =>
      !picked.size || picked.has(node.state) || Object.keys(counts ?? {}).some(label => picked.has(label));
    const named = (row: Row): boolean =>
      !text ||
      row.label.toLowerCase().includes(text) ||
      row.id.toLowerCase().includes(text) ||
      (this.folded.groups.get(row.id) ?? []).some(node => node.label.toLowerCase().includes(text));
    const fits = text || picked.size ? (row: Row): boolean => state(row) && named(row) : null;
    this.graph.dim(fits);
    this.list.filter(fits);
    this.timeline.filter(fits);
    if (this.mode === 'list') {
      this.list.draw(this.model);
    } else if (this.mode === 'timeline') {
      this.timeline.draw(this.model, this.fed && !this.stale);
    }
    this.found = fits;
  }

  private searchKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      this.search.value = '';
      this.refilter();
      this.graph.focus();
    } else if (event.key === 'Enter') {
      const first = this.found ? this.graph.first(this.found) : null;
      if (first !== null) {
        this.select(first, null);
      }
    } else {
      event.stopPropagation(); // letters are text here, not keys of the graph
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  private drawRunButtons(): void {
    const { run } = this.model;
    const actions = this.fed ? (run.actions ?? []) : [];
    if (this.runButtons.dataset['shown'] === actions.join()) {
      return;
    }
    this.runButtons.dataset['shown'] = actions.join();
    this.runButtons.replaceChildren(
      ...actions.map(action => {
        const [words, sure] = RUN_WORDS[action];
        const button = h('button', { type: 'button', class: 'pnb-button', 'data-action': action }, words);
        let asked = !sure;
        button.addEventListener('click', () => {
          if (asked) {
            this.ask({ op: action, task: '', run: this.model.run.id });
          }
          setText(button, asked || !sure ? words : sure);
          asked = !asked || !sure;
        });
        return button;
      })
    );
  }

  /** A row of the graph, or of the list where the graph has it folded. */
  private row(id: string): Row | undefined {
    const drawn = this.graph.row(id);
    if (drawn) {
      return drawn;
    }
    const node = this.model.nodes.find(one => one.id === id);
    return node && { id, label: node.label, node, counts: node.counts };
  }

  private async children(task: string, query: ChildQuery): Promise<Children | null> {
    const members = this.folded.groups.get(task);
    if (members) {
      return localChildren(task, members, query);
    }
    const command: Command = { op: 'children', task, run: this.model.run.id, ...query };
    const reply = await Promise.resolve(this.options.send(command)).catch(() => null);
    return reply?.ok ? (reply.data as Children) : null;
  }

  private openChild(row: ChildRow): void {
    this.child = row;
    this.asked = '';
    this.pane.openChild(row);
    this.askChild(row);
  }

  private askChild(row: ChildRow): void {
    const task = row.id;
    const key = `${task} ${JSON.stringify(this.row(this.selected ?? '')?.counts)}`;
    if (key !== this.asked) {
      this.asked = key;
      this.ask({ op: 'details', task, run: this.model.run.id });
    }
  }

  private unfold(id: string): void {
    if (!this.unfolded.delete(id)) {
      this.unfolded.add(id);
    }
    this.clear();
    this.redraw();
  }

  private setMode(mode: Mode): void {
    this.mode = mode;
    for (const [name, button] of this.switches) {
      button.setAttribute('aria-pressed', String(name === mode));
    }
    this.turn.hidden = mode !== 'graph';
    this.stage.replaceChildren({ graph: this.graph, timeline: this.timeline, list: this.list }[mode].node);
    if (mode === 'list') {
      this.list.draw(this.model);
      this.list.select(this.selected);
    } else if (mode === 'timeline') {
      this.timeline.draw(this.model, this.fed && !this.stale);
    } else {
      this.graph.fit();
    }
  }

  private setDirection(): void {
    const next: Direction = this.graph.direction === 'down' ? 'right' : 'down';
    this.graph.direction = next;
    this.turn.setAttribute('aria-label', next === 'down' ? 'Flow to the right' : 'Flow down');
    this.turn.title = this.turn.getAttribute('aria-label') ?? '';
    this.redraw();
  }

  private select(id: string, section: 'why' | 'logs' | null): void {
    const row = this.row(id);
    if (!row) {
      return;
    }
    this.selected = id;
    this.child = null;
    this.graph.select(id);
    this.list.select(id);
    this.timeline.mark(id);
    this.pane.open(row, section);
    this.asked = '';
    this.askDetails(row);
  }

  /** Ask for the open node's details, and again whenever its state has changed since. */
  private askDetails({ node }: Row, ticking = false): void {
    const key = `${node.id} ${node.state} ${node.attempt}`;
    const shown = `${key} ${node.artifacts}`;
    // Artifacts may change many times a second: they are asked for when the clock ticks.
    if (key === this.asked && !(ticking && shown !== this.seen)) {
      return;
    }
    this.asked = key;
    this.seen = shown;
    if (this.folded.groups.has(node.id)) {
      this.pane.waiting('');
    } else if (node.kind === 'plain') {
      this.pane.waiting('A plain cell: its names are ordered with the tasks, but it is never run or stored by itself.');
    } else {
      this.ask({ op: 'details', task: node.id, run: this.model.run.id });
    }
  }

  private clear(): void {
    this.selected = null;
    this.child = null;
    this.graph.select(null);
    this.list.select(null);
    this.timeline.mark(null);
    this.pane.close();
    if (this.mode === 'graph' && this.root.contains(document.activeElement)) {
      this.graph.focus();
    }
  }

  private reveal(id: string): void {
    const node = this.graph.row(id)?.node;
    if (node) {
      this.options.reveal?.(node);
    }
  }

  private act(action: Action, node: NodeView): void {
    if (!node.actions.includes(action)) {
      return;
    }
    if (action === 'why' || action === 'logs') {
      this.select(node.id, action);
      return;
    }
    if (!this.stale) {
      this.notice(null);
    }
    this.ask({ op: action, task: node.id, run: this.model.run.id });
  }

  /** Send, and say so when no answer comes in time; the node itself changes only when the kernel says so. */
  private ask(command: Command): void {
    const quiet = command.op === 'details';
    const late = setTimeout(() => {
      if (quiet) {
        this.pane.waiting(BUSY);
      } else {
        this.notice({ text: BUSY, tone: 'busy' });
      }
    }, PATIENCE);
    void Promise.resolve(this.options.send(command))
      .then(reply => this.answered(command, reply ?? null))
      .catch((error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        if (quiet) {
          this.pane.waiting(text);
        } else {
          this.notice({ text, tone: 'error' });
        }
      })
      .finally(() => clearTimeout(late));
  }

  private answered(command: Command, reply: Reply | null): void {
    if (!reply) {
      return;
    }
    if (command.op === 'details') {
      if (reply.ok && typeof reply.data === 'object' && reply.data !== null) {
        this.pane.show({ ...(reply.data as Partial<Details>), task: command.task });
      } else {
        this.pane.waiting(reply.message || 'The kernel knows no more about it.');
      }
      return;
    }
    if (!reply.ok) {
      this.notice({ text: reply.message || 'Refused.', tone: 'error' });
    } else {
      this.notice(null);
      if (reply.message) {
        this.announce(reply.message);
      }
    }
  }

  private notice(notice: Notice | null): void {
    this.stale = notice?.stale === true;
    this.banner.hidden = notice === null;
    this.root.classList.toggle('pnb-stale-view', this.stale);
    if (notice) {
      this.banner.dataset['tone'] = notice.tone;
      const close = this.icon('Dismiss', '×', () => (this.banner.hidden = true));
      this.banner.replaceChildren(h('span', {}, notice.text), h('span', { class: 'pnb-space' }), close);
    }
  }

  private toggleHelp(): void {
    this.help.hidden = !this.help.hidden;
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) {
      return;
    }
    if (event.key === 'Escape') {
      if (!this.help.hidden) {
        this.toggleHelp();
      } else {
        this.clear();
      }
    } else if (!this.graph.node.contains(event.target as Node) || !this.graphKey(event.key)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  private graphKey(key: string): boolean {
    const id = this.graph.focused;
    const node = this.graph.row(id)?.node;
    const can = (action: Action): boolean => node?.actions.includes(action) ?? false;
    const keys: Record<string, () => void> = {
      Enter: () => this.select(id, null),
      ' ': () => this.select(id, null),
      f: () => this.graph.fit(),
      '+': () => this.graph.zoom(1.2),
      '=': () => this.graph.zoom(1.2),
      '-': () => this.graph.zoom(1 / 1.2),
      '?': () => this.toggleHelp(),
      '/': () => this.search.focus(),
      r: () => node && this.act(can('retry') ? 'retry' : 'run', node),
      R: () => node && this.act('run-downstream', node),
      a: () => node && this.act('approve', node),
      x: () => node && this.act('cancel', node)
    };
    const act = Object.hasOwn(keys, key) ? keys[key] : undefined;
    act?.();
    return act !== undefined;
  }

  private tick(): void {
    if (document.hidden || !this.root.isConnected || this.stale || !this.fed) {
      return;
    }
    this.graph.tick();
    if (this.mode === 'timeline' && this.model.counts['RUNNING']) {
      this.timeline.draw(this.model, true);
    }
    const row = this.selected === null ? undefined : this.row(this.selected);
    if (row && this.child === null) {
      this.pane.refresh(row);
      this.askDetails(row, true);
    }
  }

  /** Tell a screen reader what needs a person: failures, approvals, the end. */
  private speak(before: ViewModel, next: ViewModel): void {
    const old = new Map(before.nodes.map(node => [node.id, node.type]));
    for (const node of next.nodes) {
      const type = old.get(node.id);
      if (type !== undefined && type !== node.type && ['FAILED', 'CRASHED', 'PAUSED'].includes(node.type)) {
        this.announce(`${node.label}: ${lookOf(node.state, node.type).words}`);
      }
    }
    if (before.run.state !== next.run.state) {
      this.announce(`${next.run.flow}: ${lookOf(next.run.state, next.run.type).words}`);
    }
  }

  private announce(words: string): void {
    this.said.push(words);
    this.speaking ??= setTimeout(() => {
      const rest = this.said.length > 5 ? `, and ${this.said.length - 5} more` : '';
      this.live.textContent = this.said.slice(0, 5).join('. ') + rest;
      this.said = [];
      this.speaking = undefined;
    }, 2000);
  }
}
