/** Applying a patch to a view model; pure. */

import type { Patch, ViewModel } from './protocol.js';

/** The newer model, or null when a message was missed and a snapshot is needed. An old patch changes nothing. */
export function applyPatch(model: ViewModel, patch: Patch): ViewModel | null {
  if (patch.seq <= model.seq) {
    return model;
  }
  if (patch.base !== model.seq) {
    return null;
  }
  const changed = new Map(patch.nodes.map(node => [node.id, node]));
  const gone = new Set(patch.removed);
  const nodes = model.nodes.filter(node => !gone.has(node.id)).map(node => changed.get(node.id) ?? node);
  const known = new Set(nodes.map(node => node.id));
  nodes.push(...patch.nodes.filter(node => !known.has(node.id)));
  return {
    version: patch.version,
    seq: patch.seq,
    run: patch.run ?? model.run,
    nodes,
    edges: patch.edges ?? model.edges,
    counts: patch.counts,
    saved_s: patch.saved_s
  };
}

/** Whether two models have the same picture but for states: then nothing needs to move. */
export function sameShape(one: ViewModel, other: ViewModel): boolean {
  return (
    one.nodes.length === other.nodes.length &&
    one.nodes.every((node, index) => {
      const twin = other.nodes[index];
      return (
        twin !== undefined &&
        node.id === twin.id &&
        node.label === twin.label &&
        node.parent === twin.parent &&
        node.position === twin.position
      );
    }) &&
    (one.edges === other.edges || JSON.stringify(one.edges) === JSON.stringify(other.edges))
  );
}
