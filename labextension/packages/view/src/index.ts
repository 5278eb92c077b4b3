export * from './protocol.js';
export { applyPatch } from './patch.js';
export { drawGlyph } from './badge.js';
export { lookOf, TONES } from './palette.js';
export { followTheme } from './theme.js';
export { mount, type Mounted, type MountOptions } from './view.js';
export { spoken } from './words.js';
