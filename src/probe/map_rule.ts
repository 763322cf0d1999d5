/** Why nobody takes the room of others in a map of a BPF program: docs/adr/0025-every-owners-share.md. */
export const MAP_RULES = {
  fixed: 'An array in which every entry has its owner, or belongs to the machine, from the start.',
  rows: 'Rows by slot: an object has one such map, with counts of its rows.',
  listed: 'Written by user space, with a limited number of namespaces for each owner.',
  told: 'Written by user space, once.',
  ring: 'A ring of which each slot has a part.',
  later: 'An array indexed by a hash: a later entry replaces an earlier one, which is counted as untracked.',
  device: 'One entry for each request or socket: its memory comes and goes with them.',
  walk: 'Rows of a walk, which user space reads before the next one.',
  walkBySlot: 'Rows of a walk, a limited number for each slot.',
  life: 'Births and deaths: a limited number of births of an owner per second, and deaths only of reported births.',
} as const;

export type MapRule = keyof typeof MAP_RULES;
