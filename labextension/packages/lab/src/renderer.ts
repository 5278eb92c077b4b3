/** The MIME renderer: shows a saved flow at once, without a kernel; alive as soon as its notebook's kernel speaks of it. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { isModel, MIME, mount, type Command, type Mounted, type NodeView, type Reply } from '@prefect-nb/view';
import { Widget } from '@lumino/widgets';

import type { Connector } from './connector';

/** The connector of the notebook that an element lies in. */
export type Finder = (element: Element) => Connector | undefined;

export class FlowRenderer extends Widget implements IRenderMime.IRenderer {
  private view: Mounted | null = null;
  private run = '';
  private seq = -1;
  private connector: Connector | undefined;
  private leave: (() => void) | null = null;

  constructor(private readonly find: Finder) {
    super();
    this.addClass('jp-RenderedFlow');
  }

  renderModel(mime: IRenderMime.IMimeModel): Promise<void> {
    const data = mime.data[MIME] as unknown;
    if (!isModel(data)) {
      this.release();
      this.node.textContent = 'This flow was saved by another version of prefect_nb.';
      return Promise.resolve();
    }
    if (this.view && data.run.id === this.run) {
      if (data.seq > this.seq) {
        this.seq = data.seq;
        this.view.update(data);
      }
      return Promise.resolve();
    }
    this.release();
    this.node.textContent = '';
    this.run = data.run.id;
    this.seq = data.seq;
    this.view = mount(this.node, {
      model: data,
      live: false,
      send: command => this.send(command),
      reveal: node => this.reveal(node)
    });
    this.join();
    return Promise.resolve();
  }

  override dispose(): void {
    this.release();
    super.dispose();
  }

  protected override onAfterAttach(): void {
    this.join();
  }

  private join(): void {
    if (!this.view || this.leave || !this.isAttached) {
      return;
    }
    this.connector = this.find(this.node);
    const run = (): string => this.run;
    this.leave =
      this.connector?.add({
        get run() {
          return run();
        },
        show: model => {
          this.run = model.run.id;
          this.seq = model.seq;
          this.view?.update(model);
        },
        notice: notice => void this.view?.update({ notice })
      }) ?? null;
  }

  private release(): void {
    this.leave?.();
    this.leave = null;
    this.view?.dispose();
    this.view = null;
  }

  private send(command: Command): Promise<Reply> {
    if (!this.connector) {
      return Promise.reject(new Error('No kernel here: open this notebook and run %load_ext prefect_nb.'));
    }
    return this.connector.command(command);
  }

  private reveal(node: NodeView): void {
    const notebook = this.connector?.panel.content;
    const index = notebook?.widgets.findIndex(cell => cell.model.id === node.cell_id) ?? -1;
    if (notebook && index >= 0) {
      notebook.activeCellIndex = index;
      void notebook.scrollToItem(index, 'center');
    }
  }
}
