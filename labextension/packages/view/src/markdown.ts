/**
 * Markdown as elements. Markup in it stays text, links lead only where `safeUrl` lets them, and nothing is loaded: a
 * picture becomes a link. Every pattern looks at a bounded piece of text, so that no text takes long.
 */

import { h } from './dom.js';

const DEPTH = 8;
const FENCE = /^\s{0,3}(```|~~~)/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.*?)[\s#]*$/;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const ITEM = /^(\s{0,3})([-*+]|\d{1,9}[.)])\s+(.*)$/;
const CELLS = /^\s*\|?\s*:?-{3,}:?\s*(\|\s*:?-{3,}:?\s*)*\|?\s*$/;
const INLINE =
  /\\([\\`*_{}[\]()#+.!|<>~-])|(`+)([^`]{1,2000})\2|\*\*(.{1,2000}?)\*\*|__(.{1,2000}?)__|~~(.{1,2000}?)~~|\*([^*\s][^*]{0,2000}?)\*|\b_([^_\s][^_]{0,2000}?)_\b|(!?)\[([^\]]{0,500})\]\(\s*<?([^)\s>]{0,2000})>?(?:\s+"[^"]{0,200}")?\s*\)|<?(https?:\/\/[^\s<>()]{1,2000})>?/gs;

/** Where a link may lead: the web, a mailbox, or a place relative to the page; null for everything else. */
export function safeUrl(url: string): string | null {
  // eslint-disable-next-line no-control-regex
  const clean = url.replace(/[\x00-\x20\x7f-\x9f]+/g, '');
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(clean)?.[1]?.toLowerCase();
  return scheme === undefined || ['http', 'https', 'mailto'].includes(scheme) ? clean : null;
}

/** A link in a window of its own; its text alone where it may not lead. */
export function link(url: string, ...content: (Node | string)[]): Node {
  const href = safeUrl(url);
  return href === null
    ? h('span', {}, ...content)
    : h('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' }, ...content);
}

export function markdown(text: string): HTMLElement {
  return h('div', { class: 'pnb-md' }, ...blocks(text.replace(/\r\n?/g, '\n').split('\n'), 0));
}

function blocks(lines: string[], depth: number): Node[] {
  const found: Node[] = [];
  let words: string[] = [];
  const end = (): void => {
    if (words.length) {
      found.push(h('p', {}, ...inline(words.join('\n'), depth)));
      words = [];
    }
  };
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const fence = FENCE.exec(line)?.[1];
    const heading = HEADING.exec(line);
    if (fence) {
      end();
      const code: string[] = [];
      while (++at < lines.length && !lines[at]?.trimStart().startsWith(fence)) {
        code.push(lines[at] ?? '');
      }
      found.push(h('pre', { class: 'pnb-pre', tabindex: 0 }, code.join('\n')));
    } else if (!line.trim()) {
      end();
    } else if (heading) {
      end();
      found.push(h('h5', { class: `pnb-h${heading[1]?.length ?? 1}` }, ...inline(heading[2] ?? '', depth)));
    } else if (RULE.test(line)) {
      end();
      found.push(h('hr'));
    } else if (depth < DEPTH && /^\s{0,3}>/.test(line)) {
      end();
      const quoted: string[] = [];
      for (; at < lines.length && /^\s{0,3}>/.test(lines[at] ?? ''); at++) {
        quoted.push((lines[at] ?? '').replace(/^\s{0,3}> ?/, ''));
      }
      at--;
      found.push(h('blockquote', {}, ...blocks(quoted, depth + 1)));
    } else if (depth < DEPTH && ITEM.test(line)) {
      end();
      const [list, next] = items(lines, at, depth);
      found.push(list);
      at = next - 1;
    } else if (line.includes('|') && CELLS.test(lines[at + 1] ?? '')) {
      end();
      const rows = [];
      const heads = cells(line);
      for (at += 2; at < lines.length && (lines[at] ?? '').includes('|'); at++) {
        rows.push(cells(lines[at] ?? ''));
      }
      at--;
      found.push(grid(heads, rows, text => inline(text, depth)));
    } else {
      words.push(line);
    }
  }
  end();
  return found;
}

/** One list from a line on, and where it ends; what is indented belongs to its item. */
function items(lines: string[], from: number, depth: number): [HTMLElement, number] {
  const ordered = /^\s*\d/.test(lines[from] ?? '');
  const list = h(ordered ? 'ol' : 'ul');
  let at = from;
  while (at < lines.length) {
    const item = ITEM.exec(lines[at] ?? '');
    if (!item || /^\d/.test(item[2] ?? '') !== ordered) {
      break;
    }
    const own = [item[3] ?? ''];
    for (at++; at < lines.length && (/^\s{2,}\S/.test(lines[at] ?? '') || !(lines[at] ?? '').trim()); at++) {
      own.push((lines[at] ?? '').replace(/^(\t|\s{2,4})/, ''));
    }
    const inside = blocks(own, depth + 1);
    const [first, ...rest] = inside;
    list.append(h('li', {}, ...(first instanceof HTMLParagraphElement ? [...first.childNodes, ...rest] : inside)));
  }
  return [list, at];
}

function cells(line: string): string[] {
  return line
    .trim()
    .replace(/^\||\|$/g, '')
    .split('|')
    .map(cell => cell.trim());
}

/** A table that scrolls by itself. */
export function grid(heads: string[], rows: string[][], shown: (text: string) => (Node | string)[]): HTMLElement {
  return h(
    'div',
    { class: 'pnb-grid', tabindex: 0, role: 'region', 'aria-label': 'table' },
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, ...heads.map(head => h('th', { scope: 'col' }, ...shown(head))))),
      h('tbody', {}, ...rows.map(row => h('tr', {}, ...heads.map((_, n) => h('td', {}, ...shown(row[n] ?? ''))))))
    )
  );
}

function inline(text: string, depth: number): (Node | string)[] {
  if (depth > DEPTH) {
    return [text];
  }
  const found: (Node | string)[] = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, escaped, , code, bold, strong, gone, soft, low, , label, url, bare] = match;
    found.push(text.slice(last, match.index));
    last = match.index + whole.length;
    const heavy = bold ?? strong;
    const light = soft ?? low;
    if (escaped !== undefined) {
      found.push(escaped);
    } else if (code !== undefined) {
      found.push(h('code', {}, code));
    } else if (heavy !== undefined) {
      found.push(h('strong', {}, ...inline(heavy, depth + 1)));
    } else if (gone !== undefined) {
      found.push(h('s', {}, ...inline(gone, depth + 1)));
    } else if (light !== undefined) {
      found.push(h('em', {}, ...inline(light, depth + 1)));
    } else if (url !== undefined) {
      found.push(link(url, label || url));
    } else if (bare !== undefined) {
      const end = /[.,;:!?]*$/.exec(bare)?.[0] ?? '';
      const address = bare.slice(0, bare.length - end.length);
      found.push(link(address, address), end);
    }
  }
  found.push(text.slice(last));
  return found.filter(part => part !== '');
}
