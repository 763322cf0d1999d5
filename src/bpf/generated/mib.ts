// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.

export const FILE = 'mib.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = never;
