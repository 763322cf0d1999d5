// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.

export const FILE = 'translations.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: never;
  readonly setting: never;
  readonly map: 'flow_log_head' | 'flow_log_tail' | 'flow_log';
  readonly program: 'flow_look_up';
}
