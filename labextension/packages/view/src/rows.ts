/** Rows of one height of which only those in sight exist; the rest is empty room. */

import { h } from './dom.js';

const AROUND = 12;

export class VirtualRows<T> {
  readonly node: HTMLElement;
  private readonly room = h('div', { class: 'pnb-room', role: 'presentation' });
  private readonly shown = h('div', { class: 'pnb-shown', role: 'presentation' });
  private items: readonly T[] = [];
  private first = -1;
  private count = 0;

  constructor(
    private readonly height: number,
    label: string,
    private readonly make: (item: T) => HTMLElement
  ) {
    this.node = h('div', { class: 'pnb-rows', role: 'group', 'aria-label': label }, this.room);
    this.room.append(this.shown);
    this.node.addEventListener('scroll', () => this.place(false));
    new ResizeObserver(() => this.place(false)).observe(this.node);
  }

  show(items: readonly T[]): void {
    this.items = items;
    this.room.style.height = `${items.length * this.height}px`;
    this.place(true);
  }

  redraw(): void {
    this.place(true);
  }

  private place(anew: boolean): void {
    const first = Math.max(0, Math.floor(this.node.scrollTop / this.height) - AROUND);
    const count = Math.ceil((this.node.clientHeight || 600) / this.height) + 2 * AROUND;
    if (!anew && first === this.first && count === this.count) {
      return;
    }
    this.first = first;
    this.count = count;
    const focused = this.shown.contains(document.activeElement)
      ? document.activeElement?.getAttribute('data-node')
      : null;
    this.shown.style.transform = `translateY(${first * this.height}px)`;
    this.shown.replaceChildren(...this.items.slice(first, first + count).map(item => this.make(item)));
    if (focused) {
      this.shown.querySelector<HTMLElement>(`[data-node="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
  }
}
