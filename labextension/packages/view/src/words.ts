/** Numbers and nodes in words. The twin of `prefect_nb/views/words.py`; `tests/golden/words.json` pins both. */

import { lookOf, TONES } from './palette.js';
import type { Counts, NodeView } from './protocol.js';

const UNITS = [
  ['d', 86400, 'h', 3600],
  ['h', 3600, 'min', 60],
  ['min', 60, 's', 1]
] as const;

function tenths(value: number): string {
  return (Math.floor(value * 10 + 0.5) / 10).toFixed(1);
}

export function duration(given: number | null): string {
  if (given === null) {
    return '';
  }
  const seconds = Math.max(0, given);
  if (seconds < 0.0005) {
    return '<1 ms';
  }
  if (seconds < 0.9995) {
    return `${Math.floor(seconds * 1000 + 0.5)} ms`;
  }
  if (seconds < 9.95) {
    return `${tenths(seconds)} s`;
  }
  const whole = Math.floor(seconds + 0.5);
  for (const [unit, span, small, part] of UNITS) {
    if (whole >= span) {
      const rest = Math.floor((whole % span) / part);
      return `${Math.floor(whole / span)} ${unit}${rest ? ` ${rest} ${small}` : ''}`;
    }
  }
  return `${whole} s`;
}

export function age(seconds: number | null): string {
  if (seconds === null) {
    return '';
  }
  const whole = Math.floor(Math.max(0, seconds));
  for (const [unit, span] of UNITS) {
    if (whole >= span) {
      return `${Math.floor(whole / span)} ${unit}`;
    }
  }
  return `${whole} s`;
}

/** The second line of a card: the state and the number that matters most in it. */
export function nodeLine(node: NodeView): string {
  if (node.kind === 'plain' && node.state === 'Pending') {
    return 'plain cell';
  }
  const words = [node.state];
  if (node.counts && Object.keys(node.counts).length) {
    words.push(tally(node.counts));
  }
  if (node.state === 'Cached') {
    words.push(node.cached_age_s === null ? '' : `${age(node.cached_age_s)} old`);
  } else if (node.duration_s !== null && !node.counts) {
    words.push(duration(node.duration_s));
  }
  words.push(far(node));
  return words.filter(Boolean).join(' · ');
}

/** How far a running task says that it is, in a word or two; empty if it does not. */
export function far({ progress }: NodeView): string {
  return progress ? (progress.share === null ? progress.text : `${Math.floor(progress.share * 100 + 1e-9)} %`) : '';
}

/** Of many children: how many are done, of how many. */
export function tally(counts: Counts): string {
  let done = 0;
  let all = 0;
  for (const [label, number] of Object.entries(counts)) {
    all += number;
    if (['done', 'cached', 'skipped'].includes(lookOf(label).tone)) {
      done += number;
    }
  }
  return `${done}/${all}`;
}

/** Of many children, for a ring: each tone with where its arc begins and how long it is, in hundredths. */
export function shares(counts: Counts): [string, number, number][] {
  const total = Object.values(counts).reduce((sum, number) => sum + number, 0);
  const arcs: [string, number, number][] = [];
  let start = 0;
  for (const tone of Object.keys(TONES)) {
    let number = 0;
    for (const [label, count] of Object.entries(counts)) {
      number += lookOf(label).tone === tone ? count : 0;
    }
    if (number) {
      arcs.push([tone, start, (100 * number) / total]);
      start += (100 * number) / total;
    }
  }
  return arcs;
}

/** The label of a node for a screen reader. */
export function spoken(node: NodeView, upstream: readonly string[]): string {
  let words = lookOf(node.state, node.type, node.kind).words;
  if (node.duration_s !== null && node.state !== 'Cached') {
    words += `, ${duration(node.duration_s)}`;
  }
  if (node.state === 'Cached' && node.cached_age_s !== null) {
    words += `, ${age(node.cached_age_s)} old`;
  }
  if (node.progress) {
    words += `, ${node.progress.text}`;
  }
  if (node.attempt > 1) {
    words += `, attempt ${node.attempt} of ${node.attempts}`;
  }
  if (node.message && ['FAILED', 'CRASHED', 'PAUSED'].includes(node.type)) {
    words += `, ${node.message}`;
  }
  if (node.freshness.startsWith('stale')) {
    words += `, out of date: ${node.freshness === 'stale-code' ? 'code changed' : 'inputs changed'}`;
  }
  if (upstream.length) {
    words += `, depends on ${upstream.join(', ')}`;
  }
  return `${node.label}: ${words}`;
}
