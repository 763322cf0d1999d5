// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.

export const FILE = 'mib.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: never;
  readonly setting: never;
  readonly map: 'mib_scratch' | 'mib_rows' | 'percpu_cpus' | 'percpu_anchor';
  readonly program: 'mib_read';
}
