import * as z from 'zod';
import { count, time } from './fields.ts';
import { PROBE_COSTS, PROBE_KINDS, PROBE_STATES } from './words.ts';

const PROGRAM = z.strictObject({
  name: z.string().describe('Name of the BPF program.'),
  hook: z.string().describe('Hook that it is attached to: `tp_btf/kfree_skb`.'),
  id: z.int().min(1).describe('Number of the program in the kernel, as `bpftool` shows it.'),
  runs: count().describe('Runs since the program was loaded; 0 unless they are measured.'),
  runSeconds: z.number().min(0).describe('Seconds that the runs took.'),
  missed: count().describe('Runs that the kernel skipped.'),
});

/** A probe, as the kernel thread reports it. */
const STATUS = z.strictObject({
  name: z.string().describe('Name of the probe: the key in the configuration.'),
  kind: z.enum(PROBE_KINDS).describe('Way in which it reads the kernel.'),
  cost: z.enum(PROBE_COSTS).describe('Cost of running it.'),
  state: z.enum(PROBE_STATES).describe('State of the probe; `stopped`: it is off.'),
  reason: z
    .string()
    .describe(
      'Reason of a state other than running; for a running probe, reason why it does not read in the best way.',
    ),
  reader: z
    .string()
    .describe(
      'Means by which it reads the kernel: `pass`, `files`, `netlink`, a hook; empty while the probe does not run.',
    ),
  since: time().describe('When the probe came into this state.'),
  collectSeconds: z.number().min(0).nullable().describe('Duration of the last collection; null before the first.'),
  measured: z.boolean().describe('Whether the kernel measures BPF programs: `runs` and `runSeconds` grow.'),
  programs: z.array(PROGRAM.readonly()).readonly().describe('BPF programs that it has loaded.'),
});
export type ProbeStatus = Readonly<z.infer<typeof STATUS>>;

const REPORT = STATUS.extend({
  summary: z.string().describe('Purpose of the probe.'),
  until: time().nullable().describe('When the section of the configuration that switches the probe ends; null: never.'),
}).readonly();
export type ProbeReport = z.infer<typeof REPORT>;

/** `/api/v1/probes` */
export const PROBES_REPORT = z
  .strictObject({
    discovery: STATUS.readonly().describe(
      'Discovery, which finds the network namespaces and their owners; it cannot be switched off.',
    ),
    probes: z.array(REPORT).readonly().describe('All probes, running or not.'),
  })
  .readonly();
export type ProbesReport = z.infer<typeof PROBES_REPORT>;
