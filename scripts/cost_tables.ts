import type { AnyProbe } from '#probe/contract.ts';
import type { Measured } from '#probe/measured.ts';
import { PROBES } from '#probes/index.ts';
import { table } from './markdown.ts';

/** Renders the cost tables in bench/README.md, and the same figures as text for docs/probes.md. */

/**
 * Cost of the BPF programs for discovery, which run even if all probes are disabled: nanoseconds per run in excess of
 * the cost of an empty program (`npm run bench:kernel`).
 */
const DISCOVERY_NS: Readonly<Record<string, string>> = {
  'tp_btf/sched_process_exec': '153',
  'tp_btf/workqueue_queue_work': '59',
  'tp_btf/workqueue_execute_start': '1',
};

function code(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

function ms(value: number): string {
  return `${value} ms`;
}

/** Returns the names of the probe and of all probes that were measured together with it. */
function together({ name }: AnyProbe): string[] {
  return [name, ...PROBES.filter(({ measured }) => measured.with === name).map((probe) => probe.name)];
}

function collectedRows(): string[][] {
  return PROBES.flatMap((probe) => {
    const { collect } = probe.measured;
    if (collect === undefined) return [];
    const names = together(probe);
    const note = collect.note === undefined ? '' : ` (${collect.note})`;
    const what = `${code(names)}${names.length > 1 ? ', together' : ''}${note}`;
    return [[what, ms(collect.ms), collect.withoutMs === undefined ? '' : ms(collect.withoutMs)]];
  });
}

function hitRows(probe: string, ns: Readonly<Record<string, string>>): string[][] {
  return Object.entries(ns).map(([hook, cost]) => [`\`${probe}\``, `\`${hook}\``, `${cost} ns`]);
}

function programsOf(isOn: boolean): (readonly [string, NonNullable<Measured['programs']>])[] {
  return PROBES.flatMap(({ name, enabledByDefault, measured: { programs } }) =>
    programs === undefined || enabledByDefault !== isOn ? [] : [[name, programs] as const],
  );
}

export const COST_TABLES: Readonly<Record<string, string>> = {
  'collected by probe': table(['probe', 'with the walks', 'without the walks'], collectedRows()),
  'collected of processes': table(
    ['probe', 'CPU time'],
    PROBES.flatMap(({ measured }) => measured.processes ?? []).map(({ what, ms: cost }) => [what, ms(cost)]),
  ),
  programs: table(
    ['probe', 'program', 'time per hit'],
    [...hitRows('discovery', DISCOVERY_NS), ...programsOf(true).flatMap(([name, { ns }]) => hitRows(name, ns))],
  ),
  'programs of probes that are off': table(
    ['probe', 'programs', 'time per hit of each'],
    programsOf(false).map(([name, { ns, note }]) => [
      `\`${name}\`${note === undefined ? '' : ` (${note})`}`,
      code(Object.keys(ns)),
      `${Object.values(ns).join(', ')} ns`,
    ]),
  ),
  'other probes': PROBES.flatMap(({ name, measured: { note } }) =>
    note === undefined ? [] : [`- \`${name}\`: ${note}`],
  ).join('\n'),
};

const README = '../bench/README.md';

function collectText(probe: AnyProbe): string[] {
  const measured = PROBES.find(({ name }) => name === (probe.measured.with ?? probe.name)) ?? probe;
  const { collect } = measured.measured;
  if (collect === undefined) return [];
  const names = together(measured);
  const all = names.length > 1 ? ` of ${code(names)} together` : '';
  const without = collect.withoutMs === undefined ? '' : ` (${ms(collect.withoutMs)} without the walks)`;
  const note = collect.note === undefined ? '' : ` (${collect.note})`;
  return [
    `A [collection](${README}#a-full-node)${all} takes ${ms(collect.ms)}${without} on a node with 110 Pods, measured in a loop${note}.`,
  ];
}

function processText({ measured: { processes } }: AnyProbe): string[] {
  if (processes === undefined) return [];
  const rows = processes.map(({ what, ms: cost }) => `${ms(cost)} for ${what}`).join(', ');
  return [
    `A [collection](${README}#processes) takes this CPU time on a node with 110 Pods of 20 processes each, measured in a loop: ${rows}.`,
  ];
}

function programText({ measured: { programs } }: AnyProbe): string[] {
  if (programs === undefined) return [];
  const each = Object.entries(programs.ns).map(([hook, ns]) => `\`${hook}\` ${ns} ns`);
  const note = programs.note === undefined ? '' : ` (${programs.note})`;
  return [
    `Each hit of a [program in the kernel](${README}#programs-in-the-kernel) takes this time, measured in a loop${note}: ${each.join(', ')}.`,
  ];
}

/** Renders the measured cost of a probe as text. */
export function costsOf(probe: AnyProbe): string {
  const { note } = probe.measured;
  const parts = [...collectText(probe), ...processText(probe), ...programText(probe)];
  return [...parts, ...(note === undefined ? [] : [note])].join(' ');
}
