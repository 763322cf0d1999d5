import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A rule of a seccomp profile. Our profiles only have rules that compare one argument for equality. */
export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly { readonly index: number; readonly value: number; readonly op: 'SCMP_CMP_EQ' }[];
}

export interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly syscalls: readonly SeccompRule[];
}

const LAUNCHER = fileURLToPath(new URL('seccomp.py', import.meta.url));
/** Kernel header with the system call numbers. */
const NUMBERS = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h';

/** Constants from linux/filter.h, linux/seccomp.h and linux/audit.h. */
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const ALLOW = 0x7fff0000;
const ERRNO = 0x00050000;
const KILL_PROCESS = 0x80000000;
const NUMBER_AT = 0;
const ARCH_AT = 4;
const ARGUMENTS_AT = 16;
const ARCH_X86_64 = 0xc000003e;
const EPERM = 1;

type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, value: number];

function numbers(): ReadonlyMap<string, number> {
  const lines = readFileSync(NUMBERS, 'utf8').matchAll(/^#define __NR_(\w+) (\d+)$/gm);
  return new Map([...lines].map(([, name = '', number]) => [name, Number(number)]));
}

function returned(action: string, errno = EPERM): number {
  if (action === 'SCMP_ACT_ALLOW') return ALLOW;
  if (action === 'SCMP_ACT_ERRNO') return ERRNO | errno;
  throw new Error(`${action} is not used here`);
}

/**
 * Compiles a profile to a filter for x86-64 (man 2 seccomp). Ignores system calls of other architectures, as container
 * runtimes do.
 */
export function compileProfile({ defaultAction, defaultErrnoRet, syscalls }: Profile): Buffer {
  const known = numbers();
  const program: Instruction[] = [
    [LOAD_WORD, 0, 0, ARCH_AT],
    [JUMP_IF_EQUAL, 1, 0, ARCH_X86_64],
    [RETURN, 0, 0, KILL_PROCESS],
  ];
  for (const { names, action, errnoRet, args = [] } of syscalls) {
    for (const number of names.flatMap((name) => known.get(name) ?? [])) {
      program.push([LOAD_WORD, 0, 0, NUMBER_AT], [JUMP_IF_EQUAL, 0, 2 * args.length + 1, number]);
      for (const [at, { index, value }] of args.entries()) {
        program.push(
          [LOAD_WORD, 0, 0, ARGUMENTS_AT + 8 * index],
          [JUMP_IF_EQUAL, 0, 2 * (args.length - at - 1) + 1, value],
        );
      }
      program.push([RETURN, 0, 0, returned(action, errnoRet)]);
    }
  }
  program.push([RETURN, 0, 0, returned(defaultAction, defaultErrnoRet)]);
  const bytes = Buffer.alloc(8 * program.length);
  for (const [at, [code, whenTrue, whenFalse, value]] of program.entries()) {
    bytes.writeUInt16LE(code, 8 * at);
    bytes.writeUInt8(whenTrue, 8 * at + 2);
    bytes.writeUInt8(whenFalse, 8 * at + 3);
    bytes.writeUInt32LE(value, 8 * at + 4);
  }
  return bytes;
}

/**
 * Returns a command prefix that runs a command under a filter. It works for any user.
 * @param file path of a filter from `compileProfile`
 */
export function underFilter(file: string): string[] {
  return ['/usr/bin/python3', LAUNCHER, file];
}
