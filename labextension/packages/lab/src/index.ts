/** The JupyterLab and Notebook 7 extension: live flows in outputs, states on cells, commands to the kernel. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { COMMAND_EVENT, MIME, type CommandDetail } from '@prefect-nb/view';

import { Connector } from './connector';
import { FlowRenderer } from './renderer';

const connectors = new Map<Element, Connector>();

/** Follows every notebook and its kernel. */
const connect: JupyterFrontEndPlugin<void> = {
  id: 'prefect_nb:connect',
  description: 'Connects notebooks to the flows in their kernels and shows the state of each cell.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_app: JupyterFrontEnd, tracker: INotebookTracker): void => {
    const follow = (panel: NotebookPanel): void => {
      if (connectors.has(panel.node)) {
        return;
      }
      const connector = new Connector(panel);
      connectors.set(panel.node, connector);
      panel.node.addEventListener(COMMAND_EVENT, event => {
        const { detail } = event as CustomEvent<CommandDetail>;
        if (connector.knows(detail.command.run)) {
          event.preventDefault();
          detail.answer = connector.command(detail.command);
        }
      });
      panel.disposed.connect(() => {
        connectors.delete(panel.node);
        connector.dispose();
      });
    };
    tracker.widgetAdded.connect((_, panel) => follow(panel));
    tracker.forEach(follow);
  }
};

/** Draws flows in outputs. */
const render: JupyterFrontEndPlugin<void> = {
  id: 'prefect_nb:render',
  description: 'Draws flows in the outputs of notebooks.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  activate: (_app: JupyterFrontEnd, registry: IRenderMimeRegistry): void => {
    registry.addFactory({
      safe: true,
      mimeTypes: [MIME],
      defaultRank: 40,
      createRenderer: () =>
        new FlowRenderer(element => {
          const panel = element.closest('.jp-NotebookPanel');
          return panel ? connectors.get(panel) : undefined;
        })
    });
  }
};

export default [connect, render];
