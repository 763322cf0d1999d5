import { expect, it } from 'vitest';
import { tellingLines } from '../lib/errors.ts';

/** Wraps the verifier's output in the same way as libbpf 1.1. */
function logOf(verifier: string): string {
  return `libbpf: prog 'probe': BPF program load failed: Permission denied
libbpf: prog 'probe': -- BEGIN PROG LOAD LOG --
${verifier}-- END PROG LOAD LOG --
libbpf: prog 'probe': failed to load: -13
libbpf: failed to load object 'probes'
`;
}

const MISSING_ARGUMENT = `0: R1=ctx() R10=fp0
; int probe(__u64 *ctx) { return ctx[5] != 0; } @ probe.bpf.c:5
0: (79) r1 = *(u64 *)(r1 +40)
func 'sched_process_exec' doesn't have 6-th argument
invalid bpf_context access off=40 size=8
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

const OUT_OF_BOUNDS = `6: (85) call bpf_map_lookup_elem#1    ; R0=map_value(map=values,ks=4,vs=8)
7: (15) if r0 == 0x0 goto pc+1        ; R0=map_value(map=values,ks=4,vs=8)
8: (79) r6 = *(u64 *)(r0 +32)
invalid access to map value, value_size=8 off=32 size=8
R0 min value is outside of the allowed memory range
verification time 61 usec
stack depth 4
processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

const AFTER_A_SAFE_BRANCH = `from 7 to 12: R0=0 R6=ctx() R10=fp0
12: safe
mark_precise: frame0: last_idx 9 first_idx 7 subseq_idx -1
; return *value; @ probe.bpf.c:9
9: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'

processed 11 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 1
`;

it.each([
  [
    'an argument that the hook does not have',
    MISSING_ARGUMENT,
    [
      '0: (79) r1 = *(u64 *)(r1 +40)',
      "func 'sched_process_exec' doesn't have 6-th argument",
      'invalid bpf_context access off=40 size=8',
    ],
  ],
  [
    'an access out of bounds',
    OUT_OF_BOUNDS,
    [
      '8: (79) r6 = *(u64 *)(r0 +32)',
      'invalid access to map value, value_size=8 off=32 size=8',
      'R0 min value is outside of the allowed memory range',
    ],
  ],
  [
    'the last branch, not the branches without errors',
    AFTER_A_SAFE_BRANCH,
    ['9: (79) r0 = *(u64 *)(r0 +0)', "R0 invalid mem access 'map_value_or_null'"],
  ],
])('tell of %s', (_what, verifier, expected) => {
  expect(tellingLines(logOf(verifier))).toEqual(expected);
});

it('are the last ones even if the log was truncated', () => {
  const cut = logOf(MISSING_ARGUMENT).split('processed')[0] ?? '';
  expect(tellingLines(cut).at(-1)).toBe('invalid bpf_context access off=40 size=8');
});

it('are none if the verifier wrote nothing', () => {
  expect(tellingLines('')).toEqual([]);
  expect(tellingLines(logOf(''))).toEqual([]);
  expect(
    tellingLines(`libbpf: prog 'probe': BPF program load failed: Operation not permitted
libbpf: permission error while running as root; try raising 'ulimit -l'? current value: 8.0 MiB
libbpf: failed to load object 'probes'
`),
  ).toEqual([]);
});
