import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { flowField, flowRow } from '#bpf/generated/common.ts';
import { elfSection } from '#sources/bpf/elf.ts';

/** Kernel: include/uapi/linux/bpf.h, BPF_STX | BPF_ATOMIC | BPF_DW. */
const ATOMIC_U64 = 0xdb;
/** An atomic addition whose result is used. JIT compilers make it a full barrier. */
const FETCH_ADD = 1;
const ADD = 0;
const INSTRUCTION_BYTES = 8;
const FIELDS = Object.keys(flowField).length;
/** Number of copies of the handler for closed sockets. */
const COPIES = 3;

interface Atomic {
  readonly index: number;
  readonly offset: number;
  readonly operation: number;
}

/** Returns the atomic 64-bit instructions of a section, in order. */
function atomicsOf(file: string, section: string): Atomic[] {
  const bytes = elfSection(readFileSync(new URL(`../../dist/bpf/${file}`, import.meta.url)), section);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const atomics: Atomic[] = [];
  for (let at = 0; at < bytes.length; at += INSTRUCTION_BYTES) {
    if (bytes[at] !== ATOMIC_U64) continue;
    atomics.push({
      index: at / INSTRUCTION_BYTES,
      offset: view.getInt16(at + 2, true),
      operation: view.getInt32(at + 4, true),
    });
  }
  return atomics;
}

// On arm64, plain additions are not ordered with other accesses, so the walk could count a socket twice (ADR 37).
describe('the end of a socket', () => {
  const atomics = atomicsOf('tcp_ends.bpf.o', 'tp_btf/inet_sock_set_state');
  const firsts = atomics.flatMap(({ offset, operation }, nth) =>
    operation === FETCH_ADD && offset === flowRow.offsets.ends ? [nth] : [],
  );
  const runs = firsts.map((nth) => atomics.slice(nth + 1, nth + 1 + FIELDS));
  const complete = runs.filter((run) =>
    run.every(({ offset }, field) => offset === flowRow.offsets.closed + 8 * field),
  );

  it('begins to add with a full barrier', () => {
    expect(complete).toHaveLength(COPIES);
  });

  it('adds the counts after that, without a barrier each', () => {
    for (const run of complete) expect(run.map(({ operation }) => operation)).toEqual(run.map(() => ADD));
  });

  it('adds no count before', () => {
    const isOfRow = ({ offset }: Atomic) =>
      offset > 0 && offset < flowRow.offsets.ends && offset !== 8 && offset !== 16 && offset !== 24;
    const inRuns = new Set(complete.flat());
    expect(atomics.filter((atomic) => isOfRow(atomic) && !inRuns.has(atomic))).toEqual([]);
  });
});

it('the walk has a full barrier between the ended sockets and the hash', () => {
  // One fence is for connections, and one is for listening sockets.
  const fences = atomicsOf('tcpsummary.bpf.o', '.text').filter(({ operation }) => operation === FETCH_ADD);
  expect(fences.length).toBeGreaterThanOrEqual(2);
});
