/**
 * Rules that prevent one owner from filling a BPF map at the expense of others: docs/adr/0025-every-owners-share.md.
 */
export const MAP_RULES = {
  fixed: 'Array in which each entry is assigned to an owner or to the node in advance.',
  rows: 'Rows that are shared out by slot. All such maps of an object share one room.',
  rowsBySlot: 'Rows with a limit per slot, which user space writes.',
  listed: 'Written by user space, with a limited number of namespaces per owner.',
  told: 'Written by user space, once.',
  ring: 'Ring buffer; each slot may use a limited share of it.',
  later: 'Array indexed by a hash. A new entry replaces the earlier one, which is counted as untracked.',
  recent: 'Array indexed by a hash. A new entry replaces the earlier one, from which a record then lacks a detail.',
  device: 'One entry per request or socket, allocated and freed with it.',
  walk: 'Rows of a walk, which user space reads before the next walk.',
  walkBySlot: 'Rows of a walk, with a limited number per slot.',
  life: 'Creations and removals of namespaces. Creations are limited per owner and second; removals are reported only for reported creations.',
} as const;

export type MapRule = keyof typeof MAP_RULES;
