/** Light or dark: what the page says (JupyterLab, VS Code), else what the person prefers. */

import { TONES } from './palette.js';

export type Theme = 'light' | 'dark';

export function currentTheme(): Theme {
  const { body } = document;
  const lab = body.getAttribute('data-jp-theme-light');
  if (lab !== null) {
    return lab === 'false' ? 'dark' : 'light';
  }
  const names = `${body.className} ${document.documentElement.className}`;
  if (/\bvscode-(dark|high-contrast)\b|\bdark(-theme)?\b/.test(names)) {
    return 'dark';
  }
  if (/\bvscode-light\b|\blight(-theme)?\b/.test(names)) {
    return 'light';
  }
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

/** Colour an element and follow the page; returns what ends it. */
export function followTheme(element: HTMLElement, fixed?: Theme): () => void {
  const apply = (): void => {
    const theme = fixed ?? currentTheme();
    element.dataset['theme'] = theme;
    for (const [name, [fill, fillDark, line, lineDark]] of Object.entries(TONES)) {
      element.style.setProperty(`--f-${name}`, theme === 'dark' ? fillDark : fill);
      element.style.setProperty(`--l-${name}`, theme === 'dark' ? lineDark : line);
    }
  };
  apply();
  const observer = new MutationObserver(apply);
  observer.observe(document.body, { attributes: true, attributeFilter: ['class', 'data-jp-theme-light'] });
  const query = matchMedia('(prefers-color-scheme: dark)');
  query.addEventListener('change', apply);
  return () => {
    observer.disconnect();
    query.removeEventListener('change', apply);
  };
}
