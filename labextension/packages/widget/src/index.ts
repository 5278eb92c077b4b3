/** The live view as an anywidget. On a page with the lab extension commands go there; elsewhere over the widget's comm. */

import {
  COMMAND_EVENT,
  mount,
  type Command,
  type CommandDetail,
  type Reply,
  type StateMessage,
  type ViewModel
} from '@prefect-nb/view';

interface WidgetModel {
  get(name: 'model'): ViewModel;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown): void;
}
type Incoming = StateMessage | ({ op: 'reply' } & Reply);

function render({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
  const waiting = new Map<string, (reply: Reply) => void>();
  let count = 0;

  const direct = (command: Command): Promise<Reply> => {
    const nonce = `${Date.now().toString(36)}-${(count++).toString(36)}-${Math.random().toString(36).slice(2)}`;
    return new Promise(resolve => {
      waiting.set(nonce, resolve);
      model.send({ v: 1, nonce, ...command });
    });
  };
  const send = (command: Command): Promise<Reply> => {
    const detail: CommandDetail = { command, answer: null };
    const free = el.dispatchEvent(
      new CustomEvent(COMMAND_EVENT, { bubbles: true, cancelable: true, composed: true, detail })
    );
    return free || !detail.answer ? direct(command) : detail.answer;
  };

  const view = mount(el, { model: model.get('model'), send });
  const receive = (message: Incoming): void => {
    if (message.op === 'reply') {
      waiting.get(message.nonce)?.(message);
      waiting.delete(message.nonce);
    } else if (!view.update(message.op === 'full' ? message.model : message.patch)) {
      model.send({ v: 1, op: 'snapshot' });
    }
  };
  const replaced = (): void => void view.update(model.get('model'));
  model.on('msg:custom', receive as never);
  model.on('change:model', replaced);
  return () => {
    model.off('msg:custom', receive as never);
    model.off('change:model', replaced);
    view.dispose();
  };
}

export default { render };
