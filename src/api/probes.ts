import * as z from 'zod';
import { count, time } from './fields.ts';
import { PROBE_COSTS, PROBE_KINDS, PROBE_STATES } from './words.ts';

const PROGRAM = z.strictObject({
  name: z.string().describe('Name of the BPF program.'),
  hook: z.string().describe('Hook that the program is attached to, such as `tp_btf/kfree_skb`.'),
  id: z.int().min(1).describe('ID of the program in the kernel, as `bpftool` shows it.'),
  runs: count().describe('Runs since the program was loaded; 0 unless the kernel measures programs.'),
  runSeconds: z.number().min(0).describe('Total duration of the runs in seconds.'),
  missed: count().describe('Runs that the kernel skipped.'),
});

/** State of a probe, as reported by the kernel thread. */
const STATUS = z.strictObject({
  name: z.string().describe('Name of the probe: the key in the configuration.'),
  kind: z.enum(PROBE_KINDS).describe('How the probe reads the kernel; `socket` if it receives what commands announce.'),
  cost: z.enum(PROBE_COSTS).describe('Cost of running it.'),
  state: z.enum(PROBE_STATES).describe('State of the probe; `stopped` if it is disabled.'),
  reason: z
    .string()
    .describe(
      'Why the probe is not running. For a running probe, why it does not use the best way to read the kernel.',
    ),
  reader: z
    .string()
    .describe(
      'Interface that the probe reads the kernel with: `pass`, `files`, `netlink` or a hook; empty if the probe does not run.',
    ),
  since: time().describe('When the probe entered this state.'),
  collectSeconds: z
    .number()
    .min(0)
    .nullable()
    .describe('Duration of the last collection in seconds; null before the first one.'),
  measured: z.boolean().describe('Whether the kernel measures BPF programs, which makes `runs` and `runSeconds` grow.'),
  programs: z.array(PROGRAM.readonly()).readonly().describe('BPF programs that the probe has loaded.'),
});
export type ProbeStatus = Readonly<z.infer<typeof STATUS>>;

const REPORT = STATUS.extend({
  summary: z.string().describe('Purpose of the probe.'),
  until: time().nullable().describe('When the configuration of the probe reverts by itself; null if it does not.'),
}).readonly();
export type ProbeReport = z.infer<typeof REPORT>;

/** Response body of `/api/v1/probes`. */
export const PROBES_REPORT = z
  .strictObject({
    discovery: STATUS.readonly().describe(
      'Discovery, which finds network namespaces and their owners. It cannot be disabled.',
    ),
    probes: z.array(REPORT).readonly().describe('All probes, running or not.'),
  })
  .readonly();
export type ProbesReport = z.infer<typeof PROBES_REPORT>;
