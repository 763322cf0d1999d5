// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.

export const FILE = 'mib.bpf.o';

/** Names in the object; the constants are its `const volatile` variables. */
export interface Layout {
  readonly constant: never;
  readonly map: 'mib_scratch' | 'mib_rows' | 'percpu_cpus' | 'percpu_anchor';
  readonly program: 'mib_read';
}
