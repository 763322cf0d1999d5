import { readFileSync } from 'node:fs';

/** Values of e_machine (man 5 elf). */
const MACHINES: Readonly<Record<number, string>> = { 62: 'x86_64', 183: 'aarch64', 247: 'bpf' };

/**
 * Returns the architecture of a program, library or object.
 * @throws if the file is not ELF or the architecture is unknown
 */
export function elfMachine(path: string): string {
  const bytes = readFileSync(path);
  const machine = bytes.subarray(0, 4).toString('latin1') === '\x7fELF' ? MACHINES[bytes.readUInt16LE(18)] : undefined;
  if (machine === undefined) throw new Error(`${path}: is for an unknown machine`);
  return machine;
}
