/** Making elements. All text goes in as text; nothing here takes markup. */

const SVG = 'http://www.w3.org/2000/svg';
type Attributes = Record<string, string | number | boolean | undefined>;
type Child = Node | string | null;

/**
 * On everything that takes the focus: Lab then leaves its keys alone (its command mode would cut a cell at `x`). It must be
 * on the focused element itself, since Lab's selectors match that before they look at its ancestors.
 */
export const OWN_KEYS = { 'data-lm-suppress-shortcuts': 'true' };

function fill<T extends Element>(element: T, attributes: Attributes, children: Child[]): T {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...children.filter((child): child is Node | string => child !== null));
  return element;
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const keys = tag === 'button' || 'tabindex' in attributes ? OWN_KEYS : {};
  return fill(document.createElement(tag), { ...keys, ...attributes }, children);
}

export function s<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Change text only when it differs: an untouched node costs no layout. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** Terminal colour codes and other control characters out; the rest stays as it is. */
export function plainText(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, '').replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, '');
}
