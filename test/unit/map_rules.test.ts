import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { MapRule } from '#probe/map_rule.ts';
import { PROBES } from '#probes/index.ts';
import { mapsOf, readCompiledObject } from '../../scripts/bpf_layouts.ts';

const OBJECTS = fileURLToPath(new URL('../../dist/bpf', import.meta.url));

/** Kernel: include/uapi/linux/bpf.h, enum bpf_map_type. */
const ARRAYS = [2, 6];

/**
 * Rules for the maps of src/bpf/common, the walks and discovery. Each probe's definition contains the rules for the
 * probe's own maps.
 */
const COMMON: Readonly<Record<MapRule, readonly string[]>> = {
  fixed: [
    'address_cells',
    'cleanup',
    'count_rest',
    'event_buckets',
    'event_ledgers',
    'flow_log_head',
    'flow_log_shares',
    'flow_rest',
    'flow_rest_used',
    'flow_taken',
    'l7_early_seen',
    'l7_kept_taken',
    'l7_live',
    'l7_live_taken',
    'mib_scratch',
    'misses',
    'netdev_effort_cell',
    'netdev_offsets',
    'owner_current',
    'owner_scratch',
    'percpu_anchor',
    'percpu_cpus',
    'request_returned',
    'request_taken',
    'rows_returned',
    'rows_taken',
    'tcp_progress_cell',
    'tcp_shares',
  ],
  rows: ['counts', 'l7_rows'],
  rowsBySlot: ['flow_rows', 'request_rows'],
  listed: ['filtered_netns', 'owners'],
  told: [
    'flow_allowed',
    'flow_log_tail',
    'l7_again_received',
    'l7_again_sent',
    'l7_on_received',
    'l7_on_sent',
    'l7_wanted',
    'netdev_kinds',
    'request_wanted',
  ],
  ring: ['events', 'flow_log'],
  later: [],
  recent: [],
  device: ['l7_connections', 'l7_early', 'l7_kept', 'l7_orders'],
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
  walkBySlot: ['tcp_accept_queues', 'tcp_listeners', 'tcp_rows'],
  life: ['births', 'owned', 'records'],
};

const files = readdirSync(OBJECTS).filter((name) => name.endsWith('.bpf.o'));
const OF_COMMON = Object.fromEntries(
  (Object.keys(COMMON) as MapRule[]).flatMap((rule) => COMMON[rule].map((map) => [map, rule] as const)),
);
/** Rules for maps of objects that only commands load. */
const OF_COMMANDS: Readonly<Record<string, Readonly<Record<string, MapRule>>>> = {
  'drop_capture.bpf.o': { scratch: 'fixed', capture_count: 'fixed', captured: 'ring' },
};
/** Objects whose programs use the maps of a probe's first object. */
const BESIDE: Readonly<Record<string, string>> = { 'http2.bpf.o': 'http.bpf.o' };
const OF_PROBES: ReadonlyMap<string, Readonly<Record<string, MapRule>>> = new Map([
  ...Object.entries(OF_COMMANDS),
  // A parser has an object of its own, which the programs in the file of its hooks call.
  ...PROBES.map(
    ({ name, hooks, maps = {} }) =>
      [files.includes(`${name}.bpf.o`) ? `${name}.bpf.o` : (hooks?.file ?? ''), maps] as const,
  ),
]);

describe.each(files)('%s', (file) => {
  const maps = mapsOf(readCompiledObject(file, readFileSync(join(OBJECTS, file))).btf);
  const names = maps.map(({ name }) => name);
  const rules = { ...OF_COMMON, ...OF_PROBES.get(BESIDE[file] ?? file) };
  const ruleOf = (map: string) => rules[map];

  it('has a rule for the room of each map', () => {
    expect(names.filter((name) => ruleOf(name) === undefined)).toEqual([]);
  });

  it('has space from the start if it is reserved', () => {
    const fixed = maps.filter(({ name }) => ruleOf(name) === 'fixed' || ruleOf(name) === 'later');
    expect(fixed.filter(({ type }) => !ARRAYS.includes(type)).map(({ name }) => name)).toEqual([]);
  });

  it('has the maps that its rules need', () => {
    const rows = names.filter((name) => ruleOf(name) === 'rows');
    // The row maps of an object share `rows_taken` and `rows_returned`, so they also share each owner's limit of rows.
    expect(rows.length).toBeLessThanOrEqual(2);
    if (rows.length > 0) expect(names).toEqual(expect.arrayContaining(['owners', 'rows_taken', 'rows_returned']));
    if (names.includes('events')) expect(names).toEqual(expect.arrayContaining(['owners', 'event_buckets']));
  });
});

it('has no rule for a missing map', () => {
  const there = new Map(
    files.map((file) => [file, mapsOf(readCompiledObject(file, readFileSync(join(OBJECTS, file))).btf)] as const),
  );
  const ofAny = new Set([...there.values()].flat().map(({ name }) => name));
  expect(Object.keys(OF_COMMON).filter((name) => !ofAny.has(name))).toEqual([]);
  for (const [file, maps] of OF_PROBES) {
    const objects = [file, ...Object.keys(BESIDE).filter((beside) => BESIDE[beside] === file)];
    const names = objects.flatMap((object) => there.get(object)?.map(({ name }) => name) ?? []);
    expect(
      Object.keys(maps).filter((name) => !names.includes(name)),
      file,
    ).toEqual([]);
  }
});
