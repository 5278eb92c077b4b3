/** The details of one task: buttons, why, error, history, log, key. Asked for when opened, kept until asked again. */

import { artifactNode, Meter } from './artifacts.js';
import { Mark } from './badge.js';
import type { Row } from './cards.js';
import { ChildTable } from './children.js';
import { h, plainText, setText } from './dom.js';
import { LARGE } from './fold.js';
import { lineOf } from './graph.js';
import { ACTION_WORDS } from './list.js';
import { lookOf } from './palette.js';
import type { Action, ChildQuery, ChildRow, Children, Details, Far, LogLine, NodeView } from './protocol.js';
import { duration, tally } from './words.js';

export interface PaneEvents {
  act(action: Action, node: NodeView): void;
  close(): void;
  children(task: string, query: ChildQuery): Promise<Children | null>;
  openChild(row: ChildRow): void;
  /** From a child back to its map. */
  back(): void;
  unfold(group: string): void;
}

type Section = 'why' | 'logs' | null;

export class Pane {
  readonly node = h('aside', { class: 'pnb-pane', 'aria-label': 'details', hidden: true });
  private readonly mark = new Mark(lookOf('Pending'));
  private readonly title = h('h3');
  private readonly state = h('div', { class: 'pnb-dim' });
  private readonly buttons = h('div', { class: 'pnb-actions' });
  private readonly body = h('div', { class: 'pnb-facts' });
  /** Of what runs; the artifact of the same name is not shown twice. */
  private readonly meter = new Meter();
  private row: Row | null = null;
  private details: (Partial<Details> & { task: string }) | null = null;
  private wanted: Section = null;
  private buttonKey = '';
  private child: ChildRow | null = null;
  private readonly back = h('button', { type: 'button', class: 'pnb-icon', 'aria-label': 'Back to the map' }, '‹');
  private readonly table: ChildTable;

  constructor(private readonly events: PaneEvents) {
    this.table = new ChildTable({ ask: (task, query) => events.children(task, query), open: events.openChild });
    this.back.addEventListener('click', () => events.back());
    const close = h('button', { type: 'button', class: 'pnb-icon', 'aria-label': 'Close details' }, '×');
    close.addEventListener('click', () => this.events.close());
    const head = h(
      'div',
      { class: 'pnb-pane-head' },
      this.back,
      this.mark.node,
      h('div', {}, this.title, this.state),
      close
    );
    this.node.append(head, this.buttons, this.meter.node, this.body);
  }

  get task(): string | null {
    return this.child?.id ?? this.row?.node.id ?? null;
  }

  /** Show a node; what is known of it at once, the rest when it arrives. */
  open(row: Row, section: Section): void {
    const fresh = this.row?.id !== row.id || this.child !== null;
    this.row = row;
    this.child = null;
    this.wanted = section;
    if (fresh) {
      this.details = null;
    }
    this.node.hidden = false;
    this.refresh(row);
    this.fill();
  }

  /** Show one child of the map that is open. */
  openChild(row: ChildRow): void {
    this.child = row;
    this.details = null;
    this.node.hidden = false;
    this.refreshChild(row);
    this.fill();
  }

  private refreshChild(row: ChildRow): void {
    this.back.hidden = false;
    this.mark.show(lookOf(row.state, row.type));
    setText(this.title, row.label);
    const words = [
      row.state,
      duration(row.duration_s),
      row.attempt > 1 ? `attempt ${row.attempt} of ${row.attempts}` : ''
    ];
    setText(this.state, words.filter(Boolean).join(' · '));
    this.buttonKey = 'child';
    this.buttons.hidden = true;
    this.showFar(null);
  }

  close(): void {
    this.row = null;
    this.child = null;
    this.table.close();
    this.node.hidden = true;
  }

  /** The node's state changed. */
  refresh(row: Row): void {
    this.row = row;
    this.back.hidden = true;
    const { node } = row;
    if (isMap(row)) {
      this.table.show(node.id, node.counts ?? {});
    }
    this.mark.show(lookOf(node.state, node.type, node.kind));
    setText(this.title, row.label);
    const words = [row.counts ? `${node.state} · ${tally(row.counts)}` : lineOf(node, Date.now() / 1000)];
    if (node.attempt > 1) {
      words.push(`attempt ${node.attempt} of ${node.attempts}`);
    }
    setText(this.state, words.join(' · '));
    const allowed = row.id === node.id ? node.actions : [];
    const group = node.id.startsWith('group:') && total(node) <= LARGE;
    const key = `${allowed.join(' ')}${group ? ' unfold' : ''}`;
    if (key !== this.buttonKey) {
      this.buttonKey = key;
      this.buttons.replaceChildren(...allowed.map(action => this.button(action)));
      if (group) {
        const button = h(
          'button',
          { type: 'button', class: 'pnb-button', 'data-action': 'unfold' },
          'Show in the graph'
        );
        button.addEventListener('click', () => this.row && this.events.unfold(this.row.node.id));
        this.buttons.append(button);
      }
    }
    this.buttons.hidden = !key;
    this.showFar(node.progress);
  }

  private showFar(far: Far | null): void {
    this.meter.node.hidden = !far;
    if (far) {
      this.meter.show(far);
    }
  }

  show(details: Partial<Details> & { task: string }): void {
    if (details.task === this.task) {
      this.details = { ...this.details, ...details };
      const last = details.states?.[details.states.length - 1];
      if (this.child && last && last.name !== this.child.state) {
        this.child = { ...this.child, state: last.name, type: '', attempt: last.attempt };
        this.refreshChild(this.child);
      }
      this.fill();
    }
  }

  /** Say why there is nothing yet. */
  waiting(text: string): void {
    if (!this.details) {
      this.body.querySelector('.pnb-waiting')?.replaceChildren(text);
    }
  }

  private button(action: Action): HTMLButtonElement {
    const button = h('button', { type: 'button', class: 'pnb-button', 'data-action': action }, ACTION_WORDS[action]);
    button.addEventListener('click', () => {
      if (this.row) {
        this.events.act(action, this.row.node);
      }
    });
    return button;
  }

  private fill(): void {
    const node = this.row?.node;
    if (!node) {
      return;
    }
    const { details } = this;
    const parts: Node[] = [];
    const section = (title: string, name: string, ...content: Node[]): void => {
      parts.push(h('section', { 'data-section': name }, h('h4', {}, title), ...content));
    };
    if (this.row && isMap(this.row) && !this.child) {
      parts.push(this.table.node);
    }
    const message = this.child ? this.child.message : node.reason || node.message;
    const reason = details?.reason || message;
    if (reason) {
      section('Why', 'why', h('p', {}, reason));
    }
    if (details?.error) {
      const { type, message, traceback } = details.error;
      section('Error', 'error', h('p', { class: 'pnb-error' }, `${type}: ${message}`));
      if (traceback) {
        parts.push(h('pre', { class: 'pnb-pre', tabindex: 0 }, plainText(traceback)));
      }
    }
    const live = this.child ? null : node.progress;
    const artifacts = (details?.artifacts ?? []).filter(({ kind, name }) => kind !== 'progress' || name !== live?.name);
    if (artifacts.length) {
      section('Artifacts', 'artifacts', ...artifacts.map(artifactNode));
    }
    if (details?.states?.length) {
      section('History', 'history', history(details.states));
    }
    if (details?.logs) {
      section('Log', 'logs', log(details.logs, details.logs_cut ?? 0));
    }
    if (details?.key?.length) {
      const rows = details.key.map(({ part, value, changed }) =>
        h(
          'tr',
          changed ? { class: 'pnb-changed' } : {},
          h('th', { scope: 'row' }, part),
          h('td', {}, value, changed ? h('b', {}, ' changed') : null)
        )
      );
      section('Key', 'key', h('table', {}, h('tbody', {}, ...rows)));
    }
    for (const [title, names] of [
      ['Reads', details?.inputs],
      ['Binds', details?.outputs]
    ] as const) {
      if (names?.length) {
        section(title, title.toLowerCase(), h('p', { class: 'pnb-names' }, names.join(', ')));
      }
    }
    if (!details && !(node.id.startsWith('group:') && !this.child)) {
      parts.push(h('p', { class: 'pnb-dim pnb-waiting' }, 'Asking the kernel for more…'));
    }
    if (parts[0] === this.table.node && this.body.firstChild === this.table.node) {
      while (this.body.lastChild !== this.table.node) {
        this.body.lastChild?.remove(); // the table stays where it is: moving it would lose its scrolling and focus
      }
      this.body.append(...parts.slice(1));
    } else {
      this.body.replaceChildren(...parts);
    }
    const tail = this.body.querySelector('[data-section=logs] pre');
    tail?.scrollTo(0, tail.scrollHeight);
    if (this.wanted && details) {
      this.body.querySelector(`[data-section=${this.wanted}]`)?.scrollIntoView({ block: 'nearest' });
    }
  }
}

/** Whether a row has members that a table can tell of; a folded line of calls has not. */
function isMap(row: Row): boolean {
  return row.id === row.node.id && row.node.counts !== null && row.node.parent === null;
}

function total(node: NodeView): number {
  return Object.values(node.counts ?? {}).reduce((sum, number) => sum + number, 0);
}

function history(states: Details['states']): HTMLElement {
  return h(
    'ol',
    { class: 'pnb-history' },
    ...states.map(({ name, at, message, attempt }) =>
      h(
        'li',
        {},
        new Mark(lookOf(name)).node,
        h('b', {}, name),
        attempt > 1 ? h('span', { class: 'pnb-dim' }, `attempt ${attempt}`) : null,
        h('time', { class: 'pnb-dim', datetime: new Date(at * 1000).toISOString() }, clock(at)),
        message ? h('span', { class: 'pnb-message' }, message) : null
      )
    )
  );
}

function clock(at: number): string {
  const date = new Date(at * 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function log(lines: LogLine[], cut: number): HTMLElement {
  if (!lines.length) {
    return h('p', { class: 'pnb-dim' }, 'Nothing was written.');
  }
  const pre = h('pre', { class: 'pnb-pre', tabindex: 0 });
  if (cut > 0) {
    pre.append(h('span', { class: 'pnb-dim' }, `… ${cut} earlier\n`));
  }
  let last = { stream: '', attempt: lines[0]?.attempt ?? 1 };
  let text = '';
  const end = (): void => {
    if (text) {
      pre.append(h('span', { 'data-stream': last.stream }, text.endsWith('\n') ? text : `${text}\n`));
    }
    text = '';
  };
  for (const line of lines) {
    if (line.stream !== last.stream || line.attempt !== last.attempt) {
      end();
    }
    if (line.attempt !== last.attempt) {
      pre.append(h('span', { class: 'pnb-dim' }, `attempt ${line.attempt}\n`));
    }
    last = line;
    text += plainText(line.text); // one print comes in several pieces
  }
  end();
  return pre;
}
