import { deepEqual, ok } from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { run } from '../../support/command.ts';
import { only, TestKernel } from '../../support/kernel.ts';
import { defineChecks, Inapplicable } from '../check.ts';

const PROGRAM = fileURLToPath(new URL('../../support/program_code.py', import.meta.url));
/** The copies of the handler for closed sockets, and the walk over open sockets (ADR 37). */
const NAMES = ['tcp_end', 'tcp_end_again', 'tcp_end_third', 'tcp_count'];

/** `barrier` for an atomic instruction that is a full barrier, `plain` for one that orders nothing. */
type Atomic = 'barrier' | 'plain';

/** Returns a program's atomic instructions. An instruction that returns the old value must be a full barrier. */
function atomicsOf(bpf: Buffer): Atomic[] {
  const [ATOMIC_U32, ATOMIC_U64, FETCH, BYTES] = [0xc3, 0xdb, 1, 8];
  const found: Atomic[] = [];
  for (let at = 0; at < bpf.length; at += BYTES) {
    if (bpf[at] !== ATOMIC_U32 && bpf[at] !== ATOMIC_U64) continue;
    found.push(bpf.readInt32LE(at + 4) & FETCH ? 'barrier' : 'plain');
  }
  return found;
}

/**
 * Returns the atomic instructions (extension LSE) of the machine code. An instruction that both acquires and releases is
 * a full barrier (Arm Architecture Reference Manual, "Atomic memory operations").
 */
function atomicsOfArm(code: Buffer): Atomic[] {
  const [MASK, ATOMIC, ACQUIRE, RELEASE, BRANCH_X10, BYTES] = [0x3f200c00, 0x38200000, 1 << 23, 1 << 22, 0xd61f0140, 4];
  const found: Atomic[] = [];
  for (let at = 0; at < code.length; at += BYTES) {
    const word = code.readUInt32LE(at);
    if ((word & MASK) === ATOMIC) found.push(word & ACQUIRE && word & RELEASE ? 'barrier' : 'plain');
    // An address, which is no code, follows this branch (kernel: arch/arm64/net/bpf_jit_comp.c, struct bpf_plt).
    if (word === BRANCH_X10) at += 2 * BYTES;
  }
  return found;
}

const open = (resources: AsyncDisposableStack) =>
  TestKernel.open(only({ flow: true, tcpsummary: true })).then((agent) => resources.use(agent));

export const barriers = defineChecks('barriers', open, {
  'on arm64, an atomic instruction is a full barrier where the sums of flows need one': async (agent) => {
    if (process.arch !== 'arm64') throw new Inapplicable('on x86-64, every atomic instruction is a full barrier');
    await agent.page();
    const codes = JSON.parse(run('python3', PROGRAM, ...NAMES)) as Record<string, { machine: string; bpf: string }>;
    deepEqual(Object.keys(codes).sort(), [...NAMES].sort());
    for (const [name, { machine, bpf }] of Object.entries(codes)) {
      const [expected, found] = [atomicsOf(Buffer.from(bpf, 'hex')), atomicsOfArm(Buffer.from(machine, 'hex'))];
      const full = found.filter((atomic) => atomic === 'barrier').length;
      process.stdout.write(`${name}: ${full} of ${found.length} atomic instructions are full barriers\n`);
      ok(expected.includes('barrier'), name);
      deepEqual(found, expected, name);
    }
  },
});
