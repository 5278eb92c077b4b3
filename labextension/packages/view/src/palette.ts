/** How each state looks. The twin of `prefect_nb/views/palette.py`; `tests/golden/palette.json` pins both. */

/** Fill, fill in the dark, line, line in the dark. */
export const TONES: Record<string, readonly [string, string, string, string]> = {
  idle: ['#f1f3f4', '#2b2f33', '#8b959f', '#7a858f'],
  waiting: ['#d7dce2', '#454c55', '#6d7986', '#a3aeb9'],
  running: ['#7fb2ff', '#1c63ad', '#1257b8', '#a9d0ff'],
  done: ['#a5deb0', '#14694d', '#24803f', '#63d39b'],
  cached: ['#cde9f5', '#24566b', '#22749a', '#7fcbec'],
  failed: ['#e8735f', '#7d1a10', '#8f1b10', '#ff9484'],
  paused: ['#f7d774', '#86690a', '#856200', '#ffdc66'],
  skipped: ['#ffffff', '#202326', '#7f8993', '#808b95'],
  cancelled: ['#b9a7d6', '#56437d', '#5a3d94', '#c9b1ee']
};

/** Path data, stroked in a 16 by 16 box. */
export const GLYPHS: Record<string, string> = {
  circle: 'M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0 -11z',
  clock: 'M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0 -11zM8 5v3.2l2.2 1.4',
  play: 'M5 3.2l7.2 4.8l-7.2 4.8z',
  resume: 'M5 3.2l7.2 4.8l-7.2 4.8zM2.5 3.2v9.6',
  loop: 'M13 8.6a5 5 0 1 1 -1.5 -4.2M13.2 2v3.2h-3.2',
  cycle: 'M3 8a2.5 2.5 0 0 1 5 0a2.5 2.5 0 0 0 5 0a2.5 2.5 0 0 0 -5 0a2.5 2.5 0 0 1 -5 0z',
  dots: 'M2.5 7.2h1.6v1.6h-1.6zM7.2 7.2h1.6v1.6h-1.6zM11.9 7.2h1.6v1.6h-1.6z',
  code: 'M6 4l-3.6 4l3.6 4M10 4l3.6 4l-3.6 4',
  open: 'M8 2.5a5.5 5.5 0 0 1 5.5 5.5M8 13.5a5.5 5.5 0 0 1 -5.5 -5.5M8 7.9v.2',
  check: 'M3 8.6l3.3 3.3l6.7 -7.4',
  lines: 'M3 4.5h10M3 8h10M3 11.5h10',
  skip: 'M3.5 3.5l6 4.5l-6 4.5zM12.5 3.5v9',
  cross: 'M4 4l8 8M12 4l-8 8',
  hourglass:
    'M4 2.5h8M4 13.5h8M5 2.5v1.8c0 1.6 3 2.6 3 3.7c0 1.1 -3 2.1 -3 3.7v1.8M11 2.5v1.8c0 1.6 -3 2.6 -3 3.7c0 1.1 3 2.1 3 3.7v1.8',
  barred: 'M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0 -11zM4.1 11.9l7.8 -7.8',
  square: 'M4 4h8v8h-8z',
  frame: 'M4 4h8v8h-8zM6.5 8h3',
  stopping: 'M4 4h8v8h-8zM4 12l8 -8',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  bolt: 'M9.2 1.5l-5.4 7.5h3.7l-.9 5.5l5.4 -7.5h-3.7z',
  tilde: 'M2.8 9.4c1.6 -3.4 3.4 -3.4 5.2 -1.4s3.6 2 5.2 -1.4'
};

/** Glyphs that are filled as well. */
export const FILLED = new Set(['bolt', 'dots', 'play', 'square']);

/** Stroke width and dash pattern; `double` has a second line inside. */
export const BORDERS: Record<string, readonly [number, string]> = {
  thin: [1, ''],
  double: [1, ''],
  thick: [2.5, ''],
  dashed: [1.75, '6 4'],
  dotted: [1.25, '1.5 3.5'],
  'dotted-thick': [2.5, '2.5 4.5']
};

export interface Look {
  tone: string;
  glyph: string;
  border: string;
  words: string;
}

const look = (tone: string, glyph: string, border: string, words: string): Look => ({ tone, glyph, border, words });

/** The look of every state, in the order of the legend. */
export const LOOKS: Record<string, Look> = {
  Scheduled: look('waiting', 'clock', 'dotted', 'scheduled'),
  Late: look('waiting', 'clock', 'thick', 'late'),
  Retrying: look('running', 'loop', 'dashed', 'waiting to retry'),
  Resuming: look('waiting', 'resume', 'dashed', 'resuming'),
  Pending: look('idle', 'circle', 'thin', 'not run yet'),
  Queued: look('waiting', 'clock', 'thin', 'waiting for a slot'),
  Submitted: look('waiting', 'clock', 'dashed', 'about to run'),
  Paused: look('paused', 'pause', 'thick', 'paused, waiting'),
  Suspended: look('paused', 'pause', 'dashed', 'suspended'),
  Running: look('running', 'play', 'dashed', 'running'),
  Looped: look('running', 'cycle', 'dashed', 'between two iterations'),
  Mapped: look('running', 'dots', 'dashed', 'its children run'),
  Open: look('idle', 'open', 'thin', 'open'),
  Cancelling: look('cancelled', 'stopping', 'dashed', 'stopping'),
  Success: look('done', 'check', 'thin', 'completed'),
  Cached: look('cached', 'lines', 'double', 'from cache'),
  Skipped: look('skipped', 'skip', 'dotted', 'skipped'),
  Failed: look('failed', 'cross', 'thick', 'failed'),
  TimedOut: look('failed', 'hourglass', 'thick', 'timed out'),
  TriggerFailed: look('waiting', 'barred', 'dotted-thick', 'blocked by a failure'),
  ValidationFailed: look('failed', 'cross', 'thick', 'failed its check'),
  Cancelled: look('cancelled', 'square', 'dashed', 'cancelled'),
  NotRun: look('idle', 'frame', 'dotted', 'not reached'),
  Crashed: look('failed', 'bolt', 'thick', 'crashed')
};

const PLAIN = look('idle', 'code', 'thin', 'plain cell');
const BY_TYPE: Record<string, string> = {
  SCHEDULED: 'Scheduled',
  PAUSED: 'Paused',
  RUNNING: 'Running',
  CANCELLING: 'Cancelling',
  COMPLETED: 'Success',
  FAILED: 'Failed',
  CANCELLED: 'Cancelled',
  CRASHED: 'Crashed'
};

/** The look of a state by its label; an unknown label (of a newer version) wears the look of its type. */
export function lookOf(label: string, type = '', kind = ''): Look {
  if (kind === 'plain' && label === 'Pending') {
    return PLAIN;
  }
  const known = Object.hasOwn(LOOKS, label) ? LOOKS[label] : undefined;
  return known ?? (LOOKS[BY_TYPE[type] ?? 'Pending'] as Look);
}
