/**
 * What travels between kernel and page. The twin of `prefect_nb/views/model.py` and `details.py`, whose docstrings say
 * which message goes on which comm; the fixtures in `tests/golden` pin both.
 */

export const VERSION = 1;
export const MIME = 'application/vnd.prefect-nb.flow+json';
export const STATE_TARGET = 'prefect_nb.state';
export const CONTROL_TARGET = 'prefect_nb.control';
/** Bubbling and cancelable; `detail` is a `Command`. Whoever takes it calls `preventDefault`. */
export const COMMAND_EVENT = 'prefect-nb:command';

export type Kind = 'cell' | 'function' | 'plain';
export type Freshness = 'fresh' | 'stale-code' | 'stale-input' | 'unknown';
export type Action =
  | 'run'
  | 'run-downstream'
  | 'retry'
  | 'approve'
  | 'reject'
  | 'cancel'
  | 'skip'
  | 'invalidate'
  | 'why'
  | 'logs';
export type RunAction = 'cancel-run' | 'resume-run';
export type Counts = Record<string, number>;

export interface RunView {
  id: string;
  flow: string;
  notebook: string;
  state: string;
  type: string;
  message: string;
  live: boolean;
  started_at: number | null;
  ended_at: number | null;
  order_known: boolean;
  store: string;
  kind: 'notebook' | 'function';
  actions: RunAction[];
}

export interface NodeView {
  id: string;
  label: string;
  kind: Kind;
  parent: string | null;
  state: string;
  type: string;
  message: string;
  attempt: number;
  attempts: number;
  duration_s: number | null;
  started_at: number | null;
  due_at: number | null;
  cached_from: string | null;
  cached_age_s: number | null;
  saved_s: number | null;
  freshness: Freshness;
  reason: string;
  cell_id: string | null;
  position: number | null;
  counts: Counts | null;
  actions: Action[];
  progress: Far | null;
  /** How often its artifacts, but for progress, have changed. */
  artifacts: number;
}

/** How far a running task says that it is; no share where nobody knows the whole. */
export interface Far {
  name: string;
  share: number | null;
  text: string;
}

export interface EdgeView {
  source: string;
  target: string;
  names: string[];
  kind: 'data' | 'after';
}

export interface ViewModel {
  version: number;
  seq: number;
  run: RunView;
  nodes: NodeView[];
  edges: EdgeView[];
  counts: Counts;
  saved_s: number;
}

export interface Patch {
  version: number;
  seq: number;
  base: number;
  run: RunView | null;
  nodes: NodeView[];
  removed: string[];
  edges: EdgeView[] | null;
  counts: Counts;
  saved_s: number;
}

/** Kernel to page on the state comm. */
export type StateMessage = ({ op: 'full'; model: ViewModel } | { op: 'patch'; patch: Patch; run?: string }) & {
  /** The run of a flow of functions, beside the notebook's. */
  kind?: 'function';
};

/** What a view asks for: the buttons, and the details of a node. */
export type Op = Action | RunAction | 'details' | 'children';
export interface Command extends Partial<ChildQuery> {
  op: Op;
  task: string;
  run: string;
  /** Of `skip`: the page has sent this cell to the kernel already, so that execution is meant. */
  queued?: boolean;
}

/** What part of a map's children is asked for. */
export interface ChildQuery {
  offset: number;
  limit: number;
  sort: ChildSort;
  descending: boolean;
  states: string[];
  text: string;
}
export type ChildSort = 'index' | 'state' | 'attempt' | 'time';
export interface ChildRow {
  id: string;
  index: number;
  label: string;
  state: string;
  type: string;
  attempt: number;
  attempts: number;
  duration_s: number | null;
  started_at: number | null;
  message: string;
}
export interface Children {
  task: string;
  total: number;
  matched: number;
  offset: number;
  counts: Counts;
  /** The states of all in order, equal neighbours together. */
  strip: [string, number][];
  rows: ChildRow[];
}

export interface DocumentCell {
  id: string;
  source: string;
  type: 'code';
  tags: string[];
}

/** Page to kernel on the control comm; `v` and `nonce` are added when it is sent. */
export type Request =
  | { op: 'hello'; page: string }
  | { op: 'snapshot'; run: string }
  | { op: 'document'; path: string; cells: DocumentCell[] }
  | { op: 'force'; task: string; run: string }
  | Command;
export type Envelope = Request & { v: 1; nonce: string };

/** Kernel to page on the control comm, one for each nonce. */
export interface Reply {
  nonce: string;
  ok: boolean;
  message: string;
  data?: unknown;
}

export interface StateLine {
  name: string;
  at: number;
  message: string;
  attempt: number;
}
export interface LogLine {
  stream: string;
  text: string;
  at: number | null;
  attempt: number;
}
export interface KeyPart {
  part: string;
  value: string;
  changed: boolean;
}
export interface Details {
  task: string;
  states: StateLine[];
  logs: LogLine[];
  logs_cut: number;
  key: KeyPart[];
  reason: string;
  error: { type: string; message: string; traceback: string } | null;
  inputs: string[];
  outputs: string[];
  artifacts: Artifact[];
}
/** What a body shows of itself; which of the parts there are depends on the kind. */
export interface Artifact {
  name: string;
  kind: 'markdown' | 'table' | 'link' | 'image' | 'progress';
  attempt: number;
  at: number;
  text?: string;
  columns?: string[];
  rows?: string[][];
  url?: string;
  mime?: string;
  data?: string;
  alt?: string;
  share?: number | null;
  words?: string;
  cut?: string;
}

/** What `mount(...).update` takes. */
export type Update = ViewModel | Patch | { details: Partial<Details> & { task: string } } | { notice: Notice | null };
/** A banner over the view; `stale` greys the states: nobody says any more that they are true. */
export interface Notice {
  text: string;
  tone: 'busy' | 'lost' | 'error' | 'info';
  stale?: boolean;
}

export function isModel(value: unknown): value is ViewModel {
  const it = value as ViewModel | null;
  return (
    typeof it === 'object' &&
    it !== null &&
    it.version === VERSION &&
    typeof it.seq === 'number' &&
    typeof it.run?.id === 'string' &&
    Array.isArray(it.nodes) &&
    Array.isArray(it.edges)
  );
}

export function isPatch(value: unknown): value is Patch {
  const it = value as Patch | null;
  return typeof it === 'object' && it !== null && typeof it.base === 'number' && Array.isArray(it.removed);
}

/** `detail` of `COMMAND_EVENT`: who takes the command calls `preventDefault` and leaves a promise of the answer. */
export interface CommandDetail {
  command: Command;
  answer: Promise<Reply> | null;
}
