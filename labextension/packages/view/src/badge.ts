/** The mark of a state: box in its border style, glyph inside. One look for cards, rows, chips and lists. */

import { s } from './dom.js';
import { BORDERS, FILLED, GLYPHS, type Look } from './palette.js';

/** Dress a box (and its second line) in a look. */
export function dress(box: SVGRectElement, inner: SVGRectElement, look: Look): void {
  const [width, dash] = BORDERS[look.border] ?? [1, ''];
  box.style.fill = `var(--f-${look.tone})`;
  box.style.stroke = `var(--l-${look.tone})`;
  box.style.strokeWidth = String(width);
  box.style.strokeDasharray = dash;
  box.style.strokeLinecap = look.border.startsWith('dotted') ? 'round' : 'butt';
  inner.style.stroke = look.border === 'double' ? `var(--l-${look.tone})` : 'none';
}

export function drawGlyph(path: SVGPathElement, look: Look): void {
  const data = GLYPHS[look.glyph] ?? '';
  if (path.getAttribute('d') !== data) {
    path.setAttribute('d', data);
    path.classList.toggle('pnb-filled', FILLED.has(look.glyph));
  }
}

/** A small mark of its own, for chips, lists and the legend. */
export class Mark {
  readonly node: SVGSVGElement;
  private readonly box = s('rect', { x: 1.5, y: 1.5, width: 17, height: 17, rx: 5 });
  private readonly inner = s('rect', { x: 4, y: 4, width: 12, height: 12, rx: 3, class: 'pnb-inner' });
  private readonly glyph = s('path', { class: 'pnb-glyph', transform: 'translate(4 4) scale(.75)' });

  constructor(look: Look) {
    this.node = s('svg', { class: 'pnb-mark', viewBox: '0 0 20 20', width: 20, height: 20, 'aria-hidden': 'true' });
    this.node.append(this.box, this.inner, this.glyph);
    this.show(look);
  }

  show(look: Look): void {
    dress(this.box, this.inner, look);
    drawGlyph(this.glyph, look);
  }
}
