import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { mapsOf, readCompiledObject } from '../../scripts/bpf_layouts.ts';

const OBJECTS = fileURLToPath(new URL('../../dist/bpf', import.meta.url));

/** Kernel: include/uapi/linux/bpf.h, enum bpf_map_type. */
const ARRAYS = [2, 6];

/** Rules by which no owner takes the room of others in a map: docs/adr/0025-every-owners-share.md. */
const RULES = {
  /** An array in which every entry has its owner, or belongs to the machine, from the start. */
  fixed: [
    'address_cells',
    'cleanup',
    'count_rest',
    'event_buckets',
    'event_ledgers',
    'mib_scratch',
    'misses',
    'netdev_effort_cell',
    'netdev_offsets',
    'owner_current',
    'owner_scratch',
    'packet_deliveries',
    'percpu_anchor',
    'percpu_cpus',
    'rows_returned',
    'rows_taken',
    'softirq_clocks',
    'softirq_histograms',
    'tcp_progress_cell',
    'tcp_shares',
    'transmit_depths',
    'transmits',
    'virtio_histograms',
    'waiting_drops',
  ],
  /** Rows by slot: an object has one such map, with counts of its rows. */
  rows: ['block_histograms', 'counts', 'kernel_histograms', 'socket_histograms', 'transmit_histograms'],
  /** Written by user space, with a limited number of namespaces for each owner. */
  listed: ['aimed_netns', 'owners'],
  /** Written by user space, once: the kinds of devices that the kernel has. */
  told: ['netdev_kinds'],
  /** A ring of which each slot has a part. */
  ring: ['events'],
  /** An array indexed by a hash: a later entry replaces an earlier one, which is counted as untracked. */
  later: ['packet_slots', 'queued_packets'],
  /** One entry for each request or socket: its memory comes and goes with them. */
  device: ['block_requests', 'socket_states', 'virtio_commands'],
  /** Rows of a walk, which user space reads before the next one. */
  walk: [
    'conntrack_rows',
    'mib_rows',
    'netdev_rows',
    'netns_rows',
    'qdisc_rows',
    'sock_places',
    'sock_rows',
    'task_rows',
  ],
  /** Rows of a walk, a limited number for each slot. */
  walkBySlot: ['tcp_accept_queues', 'tcp_listeners', 'tcp_rows'],
  /** Births and deaths: a limited number of births of an owner per second, and deaths only of reported births. */
  life: ['births', 'owned', 'records'],
} as const;

type Rule = keyof typeof RULES;

function ruleOf(map: string): Rule | undefined {
  return (Object.keys(RULES) as Rule[]).find((rule) => (RULES[rule] as readonly string[]).includes(map));
}

const files = readdirSync(OBJECTS).filter((name) => name.endsWith('.bpf.o'));

describe.each(files)('%s', (file) => {
  const maps = mapsOf(readCompiledObject(file, readFileSync(join(OBJECTS, file))).btf);
  const names = maps.map(({ name }) => name);

  it('has a rule for the room of each map', () => {
    expect(names.filter((name) => ruleOf(name) === undefined)).toEqual([]);
  });

  it('has room from the start where it is reserved', () => {
    const fixed = maps.filter(({ name }) => ruleOf(name) === 'fixed' || ruleOf(name) === 'later');
    expect(fixed.filter(({ type }) => !ARRAYS.includes(type)).map(({ name }) => name)).toEqual([]);
  });

  it('has the maps that its rules need', () => {
    const rows = names.filter((name) => ruleOf(name) === 'rows');
    expect(rows.length).toBeLessThanOrEqual(1);
    if (rows.length > 0) expect(names).toEqual(expect.arrayContaining(['owners', 'rows_taken', 'rows_returned']));
    if (names.includes('events')) expect(names).toEqual(expect.arrayContaining(['owners', 'event_buckets']));
  });
});

it('has no rule for a missing map', () => {
  const there = new Set(
    files.flatMap((file) =>
      mapsOf(readCompiledObject(file, readFileSync(join(OBJECTS, file))).btf).map(({ name }) => name),
    ),
  );
  expect(
    Object.values(RULES)
      .flat()
      .filter((name) => !there.has(name)),
  ).toEqual([]);
});
