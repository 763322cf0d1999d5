import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { run } from '../support/command.ts';
import { elfMachine } from '../support/elf.ts';

const SOURCES = fileURLToPath(new URL('../../src/bpf', import.meta.url));
const BUILT = fileURLToPath(new URL('../../dist/bpf', import.meta.url));
const MACHINES = ['x86_64', 'aarch64'] as const;
type Machine = (typeof MACHINES)[number];

/** Offsets of a function's arguments and result in struct pt_regs. Kernel: arch/x86/include/uapi/asm/ptrace.h, arch/arm64/include/uapi/asm/ptrace.h. */
const REGISTERS: Readonly<Record<Machine, { readonly args: readonly number[]; readonly result: number }>> = {
  x86_64: { args: [112, 104, 96, 88, 72, 64], result: 80 },
  aarch64: { args: [0, 8, 16, 24, 32, 40], result: 0 },
};

const OWN: Machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
const OTHER = MACHINES.find((machine) => machine !== OWN) ?? OWN;
/** The directory is kept so that later runs recompile only changed sources. */
const folder = fileURLToPath(new URL(`../../.cache/bpf-${OTHER}`, import.meta.url));
const folderOf = (machine: Machine) => (machine === OWN ? BUILT : folder);
const objects = ['probes', 'walks']
  .flatMap((room) => readdirSync(join(SOURCES, room)))
  .filter((name) => name.endsWith('.bpf.c'))
  .map((name) => name.replace(/c$/, 'o'))
  .sort();

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  // Deletes objects whose sources were removed.
  for (const name of readdirSync(folder)) if (!objects.includes(name)) rmSync(join(folder, name));
  run('make', '-s', '-j2', '-C', SOURCES, `MACHINE=${OTHER}`, `OUT=${folder}`);
});

/** Returns the registers that each kprobe reads before its first branch, as `argument 0` or `result`. */
function readsOf(machine: Machine, object: string): Map<string, string[]> {
  const { args, result } = REGISTERS[machine];
  const found = new Map<string, string[]>();
  const text = run('llvm-objdump', '-d', '--no-show-raw-insn', join(folderOf(machine), object));
  for (const section of text.split('Disassembly of section ')) {
    const [, kind = '', name = ''] = /^(kprobe|kretprobe)\/(\S+):/.exec(section) ?? [];
    if (kind === '') continue;
    const reads: string[] = [];
    const contexts = new Set(['r1']);
    for (const [, instruction = ''] of section.matchAll(/^ +\d+:\s+(.*)$/gm)) {
      if (/^(if|goto|exit)/.test(instruction)) break;
      const [, context = '', offset = ''] = /= \*\(u\d+ \*\)\((r\d+) \+ (\d+)\)/.exec(instruction) ?? [];
      if (contexts.has(context)) {
        const at = kind === 'kretprobe' ? [result].indexOf(Number(offset)) : args.indexOf(Number(offset));
        reads.push(at < 0 ? `offset ${offset}` : kind === 'kretprobe' ? 'result' : `argument ${at}`);
      }
      const [, to = '', from = ''] = /^[rw](\d+) = (?:r(\d+)$)?/.exec(instruction) ?? [];
      if (contexts.has(`r${from}`)) contexts.add(`r${to}`);
      else if (to !== '') contexts.delete(`r${to}`);
      if (instruction.startsWith('call')) for (const clobbered of [0, 1, 2, 3, 4, 5]) contexts.delete(`r${clobbered}`);
    }
    found.set(`${kind} ${name}`, reads.sort());
  }
  return found;
}

it('every object compiles for both machines', () => {
  for (const machine of MACHINES) {
    expect(readdirSync(folderOf(machine)).sort()).toEqual(objects);
    for (const object of objects) expect(elfMachine(join(folderOf(machine), object))).toBe('bpf');
  }
});

it('kprobes read the same arguments on both, each from its own registers', () => {
  const all = Object.fromEntries(
    MACHINES.map((machine) => [
      machine,
      new Map(
        objects.flatMap((object) => [...readsOf(machine, object)].map(([name, reads]) => [`${object} ${name}`, reads])),
      ),
    ]),
  ) as Record<Machine, Map<string, string[]>>;
  expect(all.aarch64).toEqual(all.x86_64);
  expect(all.aarch64.size).toBeGreaterThan(20);
  for (const [name, reads] of all.aarch64) {
    // Some kretprobes do not read any register.
    expect(reads.join(), name).toMatch(/kretprobe/.test(name) ? /^(result)?$/ : /^argument \d(,argument \d)*$/);
  }
});
