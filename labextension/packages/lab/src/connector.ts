/**
 * One notebook and its kernel: finds the state comm that the kernel opened, opens the control comm on its own subshell,
 * keeps the kernel told of the document, and gives every view and cell the newest states.
 */

import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import {
  applyPatch,
  CONTROL_TARGET,
  isModel,
  STATE_TARGET,
  type Command,
  type DocumentCell,
  type Envelope,
  type NodeView,
  type Notice,
  type Reply,
  type Request,
  type StateMessage,
  type ViewModel
} from '@prefect-nb/view';
import { UUID, type JSONObject } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';

import { showBadges } from './badges';

const DEBOUNCE = 150;
const SUBSHELL_WAIT = 2000;
const FORCE_WAIT = 2000;
const RESTARTED: Notice = { text: 'Kernel restarted: states from the last run.', tone: 'lost', stale: true };
const DEAD: Notice = { text: 'The kernel is gone: states from the last run.', tone: 'lost', stale: true };
const LOST: Notice = {
  text: 'Connection to the kernel lost, trying again: states may be old.',
  tone: 'lost',
  stale: true
};

/** What a connector feeds: one live view. */
export interface Sink {
  /** Empty before the first task of a kernel: then the run that it opens is meant. */
  readonly run: string;
  show(model: ViewModel): void;
  notice(notice: Notice | null): void;
}

export class Connector implements IDisposable {
  private readonly page = UUID.uuid4();
  private readonly sinks = new Set<Sink>();
  private readonly models = new Map<string, ViewModel>();
  private readonly waiting = new Map<string, { resolve(reply: Reply): void; reject(error: Error): void }>();
  private current: string | null = null;
  private kernel: Kernel.IKernelConnection | null = null;
  private state: Kernel.IComm | null = null;
  private control: Kernel.IComm | null = null;
  private banner: Notice | null = null;
  private sent = '';
  private timer: ReturnType<typeof setTimeout> | undefined;
  private disposed = false;

  constructor(readonly panel: NotebookPanel) {
    const { sessionContext } = panel;
    sessionContext.kernelChanged.connect(this.onKernel, this);
    sessionContext.statusChanged.connect(this.onStatus, this);
    sessionContext.connectionStatusChanged.connect(this.onConnection, this);
    NotebookActions.executionScheduled.connect(this.onExecution, this);
    void Promise.all([sessionContext.ready, panel.context.ready]).then(() => {
      if (this.disposed) {
        return;
      }
      panel.content.model?.contentChanged.connect(this.onContent, this);
      panel.content.model?.cells.changed.connect(this.onContent, this);
      this.attach(sessionContext.session?.kernel ?? null);
    });
  }

  get isDisposed(): boolean {
    return this.disposed;
  }

  dispose(): void {
    if (this.disposed) {
      return;
    }
    this.disposed = true;
    clearTimeout(this.timer);
    const { sessionContext } = this.panel;
    sessionContext.kernelChanged.disconnect(this.onKernel, this);
    sessionContext.statusChanged.disconnect(this.onStatus, this);
    sessionContext.connectionStatusChanged.disconnect(this.onConnection, this);
    NotebookActions.executionScheduled.disconnect(this.onExecution, this);
    this.kernel?.removeCommTarget(STATE_TARGET, this.onOpened);
    this.drop('the notebook was closed');
    this.sinks.clear();
  }

  /** Whether commands of this run can be carried. */
  knows(run: string): boolean {
    return this.control !== null && this.models.has(run);
  }

  /** Feed a view from now on; returns what ends it. */
  add(sink: Sink): () => void {
    this.sinks.add(sink);
    const model = this.models.get(sink.run || (this.current ?? ''));
    if (model) {
      sink.show(model);
    }
    if (this.banner) {
      sink.notice(this.banner);
    }
    return () => this.sinks.delete(sink);
  }

  /** Carry out a command: what means "run this cell" in the page, the rest in the kernel. */
  async command(command: Command): Promise<Reply> {
    if (command.op === 'run' || command.op === 'run-downstream' || command.op === 'retry') {
      return this.run(command);
    }
    if (command.op === 'approve') {
      const reply = await this.request(command);
      const goesOn = reply.ok ? this.cellsOf([command.task], command.run) : [];
      this.execute(goesOn); // the visit that waited goes on inside an execution of its cell
      return reply;
    }
    return this.request(command.op === 'skip' ? { ...command, queued: this.queued(command) } : command);
  }

  /** Whether the cell of a task was sent to the kernel and has not come to its end. */
  private queued({ task, run }: Command): boolean {
    const id = this.models.get(run)?.nodes.find(node => node.id === task)?.cell_id;
    const model = this.panel.content.widgets.find(cell => cell.model.id === id)?.model;
    return (model as { executionState?: string } | undefined)?.executionState === 'running';
  }

  private async run(command: Command): Promise<Reply> {
    const model = this.models.get(command.run);
    const node = model?.nodes.find(one => one.id === command.task);
    if (!model || !node) {
      throw new Error('This run is no longer the one of this notebook.');
    }
    const nodes = command.op === 'run-downstream' ? [node, ...downstream(model, node)] : [node];
    const cells = this.cellsOf(
      nodes.map(one => one.id),
      command.run
    );
    if (!cells.length) {
      throw new Error(`The cell of ${node.label} is not in this notebook any more.`);
    }
    if (node.kind !== 'plain') {
      const forced = this.request({ op: 'force', task: node.id, run: command.run });
      const patience = new Promise<null>(resolve => setTimeout(() => resolve(null), FORCE_WAIT));
      const reply = await Promise.race([forced.catch(() => null), patience]);
      if (reply && !reply.ok) {
        return reply;
      }
    }
    this.execute(cells);
    const what = cells.length === 1 ? '1 cell' : `${cells.length} cells`;
    return { nonce: '', ok: true, message: `${what} sent to the kernel` };
  }

  /** The cells of these tasks that are still in the notebook, in its order. */
  private cellsOf(tasks: string[], run: string): Cell[] {
    const nodes = this.models.get(run)?.nodes ?? [];
    const wanted = new Set(nodes.filter(node => tasks.includes(node.id)).map(node => node.cell_id));
    return this.panel.content.widgets.filter(cell => wanted.has(cell.model.id));
  }

  private execute(cells: Cell[]): void {
    if (cells.length) {
      void NotebookActions.runCells(this.panel.content, cells, this.panel.sessionContext);
    }
  }

  private request(request: Request): Promise<Reply> {
    const { control } = this;
    if (!control) {
      return Promise.reject(new Error('Not connected to the kernel: run %load_ext prefect_nb first.'));
    }
    const nonce = UUID.uuid4();
    const envelope: Envelope = { v: 1, nonce, ...request };
    return new Promise<Reply>((resolve, reject) => {
      this.waiting.set(nonce, { resolve, reject });
      void control.send(envelope as unknown as JSONObject);
    });
  }

  private tell(request: Request): void {
    this.request(request).catch(() => undefined);
  }

  // The kernel

  private onKernel(_: unknown, args: { newValue: Kernel.IKernelConnection | null }): void {
    this.attach(args.newValue);
  }

  private attach(kernel: Kernel.IKernelConnection | null): void {
    if (kernel === this.kernel) {
      return;
    }
    this.kernel?.removeCommTarget(STATE_TARGET, this.onOpened);
    this.drop('the kernel changed');
    this.kernel = kernel;
    if (kernel) {
      kernel.registerCommTarget(STATE_TARGET, this.onOpened);
      void this.find(kernel);
    }
  }

  /** Look for a state comm that was opened before this page listened. */
  private async find(kernel: Kernel.IKernelConnection): Promise<void> {
    await kernel.info;
    const { content } = await kernel.requestCommInfo({ target_name: STATE_TARGET });
    if (content.status !== 'ok' || kernel !== this.kernel || this.state) {
      return;
    }
    const [id] = Object.keys(content.comms);
    if (id !== undefined && !kernel.hasComm(id)) {
      this.adopt(kernel, kernel.createComm(STATE_TARGET, id));
    }
  }

  private readonly onOpened = (comm: Kernel.IComm): void => {
    if (this.kernel) {
      this.adopt(this.kernel, comm);
    }
  };

  private adopt(kernel: Kernel.IKernelConnection, comm: Kernel.IComm): void {
    this.drop('the extension was loaded again');
    this.state = comm;
    comm.onMsg = message => this.receive(message.content.data as unknown as StateMessage);
    comm.onClose = () => {
      if (this.state === comm) {
        this.drop('the kernel closed the channel');
      }
    };
    void this.openControl(kernel);
  }

  /** On the comm's own subshell, so that commands are served while a cell runs (where the kernel can). */
  private async openControl(kernel: Kernel.IKernelConnection): Promise<void> {
    const state = this.state;
    const comm = kernel.createComm(CONTROL_TARGET);
    const started = (comm as { subshellStarted?: Promise<void> }).subshellStarted;
    if (started && (kernel as { supportsSubshells?: boolean }).supportsSubshells) {
      await Promise.race([started, new Promise(resolve => setTimeout(resolve, SUBSHELL_WAIT))]).catch(() => undefined);
    }
    if (this.disposed || this.kernel !== kernel || this.state !== state) {
      comm.dispose();
      return;
    }
    comm.onMsg = message => this.answered(message);
    comm.onClose = () => {
      if (this.control === comm) {
        this.control = null;
      }
    };
    comm.open({ v: 1 });
    this.control = comm;
    this.sent = '';
    this.tell({ op: 'hello', page: this.page });
    this.sendDocument();
  }

  private answered(message: KernelMessage.ICommMsgMsg): void {
    const reply = message.content.data as unknown as Reply;
    this.waiting.get(reply.nonce)?.resolve(reply);
    this.waiting.delete(reply.nonce);
  }

  private receive(message: StateMessage): void {
    if (message.op === 'full' && isModel(message.model)) {
      this.publish(message.model);
    } else if (message.op === 'patch') {
      const run = message.run ?? this.current;
      const model = run === null ? undefined : this.models.get(run);
      const next = model ? applyPatch(model, message.patch) : null;
      if (next) {
        this.publish(next);
      } else {
        this.tell({ op: 'snapshot', run: run ?? '' });
      }
    }
  }

  private publish(model: ViewModel): void {
    this.models.set(model.run.id, model);
    const own = model.run.kind !== 'function';
    if (own) {
      this.current = model.run.id;
    }
    const noticed = this.banner !== null;
    if (!this.banner?.stale || this.banner === LOST || this.shows(model.run.id)) {
      this.banner = null;
    }
    for (const sink of this.sinks) {
      if (sink.run === model.run.id || (own && !sink.run)) {
        if (noticed) {
          sink.notice(null);
        }
        sink.show(model);
      }
    }
    if (own) {
      showBadges(this.panel, model);
    }
  }

  /** Whether a view shows this run; views of another one keep saying that they are old. */
  private shows(run: string): boolean {
    return [...this.sinks].some(sink => sink.run === run || !sink.run);
  }

  private notice(notice: Notice | null): void {
    if (notice === this.banner) {
      return;
    }
    this.banner = notice;
    for (const sink of this.sinks) {
      sink.notice(notice);
    }
  }

  /** Forget the channels; models stay, views say whose states they show. */
  private drop(why: string): void {
    for (const { reject } of this.waiting.values()) {
      reject(new Error(`No answer: ${why}.`));
    }
    this.waiting.clear();
    this.state = null;
    const { control } = this;
    this.control = null;
    if (control && !control.isDisposed) {
      control.dispose();
    }
  }

  private onStatus(_: unknown, status: Kernel.Status): void {
    if (status === 'restarting' || status === 'autorestarting') {
      this.drop('the kernel was restarted');
      this.lost(RESTARTED);
    } else if (status === 'dead' || status === 'terminating') {
      this.drop('the kernel is gone');
      this.lost(DEAD);
    }
  }

  private lost(notice: Notice): void {
    if (this.models.size) {
      this.notice(notice);
      showBadges(this.panel, null);
    }
  }

  private onConnection(_: unknown, status: Kernel.ConnectionStatus): void {
    if (status === 'connecting' && this.state) {
      this.notice(LOST);
    } else if (status === 'connected' && this.banner === LOST) {
      if (this.control && this.current !== null) {
        this.tell({ op: 'snapshot', run: this.current });
      } else if (this.kernel) {
        void this.find(this.kernel);
      }
    }
  }

  // The document

  private onContent(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.sendDocument();
      if (this.current !== null && !this.banner) {
        showBadges(this.panel, this.models.get(this.current) ?? null);
      }
    }, DEBOUNCE);
  }

  private onExecution(_: unknown, args: { notebook: unknown }): void {
    if (args.notebook === this.panel.content) {
      this.sendDocument();
    }
  }

  /** Order and sources of the code cells; sent only when they differ from what was sent. */
  private sendDocument(): void {
    clearTimeout(this.timer);
    const model = this.panel.content.model;
    if (!this.control || !model) {
      return;
    }
    const cells: DocumentCell[] = [];
    for (const cell of model.cells) {
      if (cell.type === 'code') {
        const tags = cell.getMetadata('tags') as unknown;
        cells.push({
          id: cell.id,
          source: cell.sharedModel.getSource(),
          type: 'code',
          tags: Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === 'string') : []
        });
      }
    }
    const path = this.panel.context.path;
    const key = JSON.stringify([path, cells]);
    if (key !== this.sent) {
      this.sent = key;
      this.tell({ op: 'document', path, cells });
    }
  }
}

/** Everything after a node, nearest first. */
function downstream(model: ViewModel, node: NodeView): NodeView[] {
  const found = new Set([node.id]);
  for (const id of found) {
    for (const edge of model.edges) {
      if (edge.source === id) {
        found.add(edge.target);
      }
    }
  }
  return model.nodes.filter(one => one.id !== node.id && found.has(one.id) && one.kind !== 'function');
}
