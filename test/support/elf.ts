import { readFileSync } from 'node:fs';

/** man 5 elf, e_machine */
const MACHINES: Readonly<Record<number, string>> = { 62: 'x86_64', 183: 'aarch64', 247: 'bpf' };

/** Machine that a program, library or object is for. @throws where the file is not ELF, or is for an unknown machine */
export function elfMachine(path: string): string {
  const bytes = readFileSync(path);
  const machine = bytes.subarray(0, 4).toString('latin1') === '\x7fELF' ? MACHINES[bytes.readUInt16LE(18)] : undefined;
  if (machine === undefined) throw new Error(`${path}: is for an unknown machine`);
  return machine;
}
