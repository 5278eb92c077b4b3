/** What a task shows of itself: texts, tables, links, pictures, and how far it is. Data only; no markup is taken. */

import { h, plainText, setText } from './dom.js';
import { grid, link, markdown } from './markdown.js';
import type { Artifact, Far } from './protocol.js';

const ROWS = 200;
const PICTURES = /^image\/(png|jpeg|gif|webp|svg\+xml)$/;

/** A bar and its words; `show` moves it. */
export class Meter {
  readonly node = h('div', { class: 'pnb-far' });
  private readonly fill = h('i');
  private readonly bar = h('div', { class: 'pnb-meter', role: 'progressbar' }, this.fill);
  private readonly words = h('span', { class: 'pnb-dim' });

  constructor() {
    this.node.append(this.bar, this.words);
  }

  show(far: Far): void {
    setText(this.words, far.text);
    this.bar.setAttribute('aria-label', far.name);
    this.bar.setAttribute('aria-valuetext', far.text);
    this.bar.classList.toggle('pnb-open', far.share === null);
    if (far.share === null) {
      this.bar.removeAttribute('aria-valuenow');
    } else {
      this.bar.setAttribute('aria-valuenow', String(Math.floor(far.share * 100)));
    }
    this.fill.style.width = `${(far.share ?? 1) * 100}%`;
  }
}

export function artifactNode(made: Artifact): HTMLElement {
  const content = body(made);
  const cut = made.cut ? h('p', { class: 'pnb-dim' }, made.cut) : null;
  return h('figure', { 'data-artifact': made.name }, h('figcaption', { class: 'pnb-dim' }, made.name), content, cut);
}

function body(made: Artifact): Node {
  switch (made.kind) {
    case 'markdown':
      return markdown(plainText(String(made.text ?? '')));
    case 'link':
      return h('p', {}, link(String(made.url ?? ''), plainText(String(made.text || made.url || ''))));
    case 'table': {
      const rows = made.rows ?? [];
      const shown = grid(made.columns ?? [], rows.slice(0, ROWS), text => [plainText(String(text))]);
      if (rows.length > ROWS) {
        shown.append(h('p', { class: 'pnb-dim' }, `and ${rows.length - ROWS} more rows`));
      }
      return shown;
    }
    case 'image':
      // As an image no script in an SVG runs, and nothing that it names is loaded.
      return made.data && PICTURES.test(made.mime ?? '')
        ? h('img', { src: `data:${made.mime};base64,${made.data}`, alt: made.alt || made.name })
        : h('p', {}, made.alt || 'a picture');
    case 'progress': {
      const meter = new Meter();
      meter.show({ name: made.name, share: made.share ?? null, text: made.words ?? '' });
      return meter.node;
    }
    default:
      return h('p', {}, 'This page does not know how to show it.');
  }
}
