import { COLLECTED, NOTES, OF_PROCESSES, PROGRAMS, PROGRAMS_ALWAYS, PROGRAMS_OFF } from '../bench/costs.ts';
import { table } from './markdown.ts';

/** Tables of bench/README.md, and the same figures in words for docs/probes.md. */

function code(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

function ms(value: number): string {
  return `${value} ms`;
}

export const COST_TABLES: Readonly<Record<string, string>> = {
  'collected by probe': table(
    ['', 'with the walks', 'both walks off'],
    COLLECTED.map(({ probes, ms: cost, withoutMs, note }) => [
      `${code(probes)}${probes.length > 1 ? ' together' : ''}${note === undefined ? '' : ` (${note})`}`,
      ms(cost),
      withoutMs === undefined ? '' : ms(withoutMs),
    ]),
  ),
  'collected of processes': table(
    ['', 'CPU'],
    OF_PROCESSES.map(({ what, ms: cost }) => [what, ms(cost)]),
  ),
  programs: table(
    ['probe', 'program', 'above empty'],
    [PROGRAMS_ALWAYS, ...PROGRAMS].flatMap(({ probe, hits }) =>
      hits.map(([hook, ns]) => [`\`${probe}\``, `\`${hook}\``, `${ns} ns`]),
    ),
  ),
  'programs of probes that are off': table(
    ['probe', 'program', 'above empty'],
    PROGRAMS_OFF.map(({ probe, note, hits }) => [
      `\`${probe}\`${note === undefined ? '' : `, ${note}`}`,
      code(hits.map(([hook]) => hook)),
      `${hits.map(([, ns]) => ns).join(', ')} ns`,
    ]),
  ),
  'other probes': Object.entries(NOTES)
    .map(([probe, note]) => `- \`${probe}\`: ${note}`)
    .join('\n'),
};

const README = '../bench/README.md';

/** Describes the measured costs of a probe in a sentence. */
export function costsOf(probe: string): string {
  const collected = COLLECTED.filter(({ probes }) => probes.includes(probe)).map(({ probes, ms: cost, withoutMs }) => {
    const together = probes.length > 1 ? ` for ${code(probes)} together` : '';
    const without = withoutMs === undefined ? '' : `, ${ms(withoutMs)} without the walks`;
    return `[Collected](${README}#a-full-node) in ${ms(cost)}${together} on a node of 110 Pods${without}, in a loop.`;
  });
  const rows = OF_PROCESSES.filter((row) => row.probe === probe).map(({ what, ms: cost }) => `${what} ${ms(cost)}`);
  const ofProcesses =
    rows.length === 0
      ? []
      : [`[Collected](${README}#processes) on a node of 110 Pods of 20 processes, CPU, in a loop: ${rows.join(', ')}.`];
  const programs = [...PROGRAMS, ...PROGRAMS_OFF]
    .filter((row) => row.probe === probe)
    .map(({ hits, note }) => {
      const each = hits.map(([hook, ns]) => `\`${hook}\` ${ns} ns`).join(', ');
      return `[In the kernel](${README}#programs-in-the-kernel), for each hit, in a loop${note === undefined ? '' : `, ${note}`}: ${each}.`;
    });
  const note = NOTES[probe];
  return [...collected, ...ofProcesses, ...programs, ...(note === undefined ? [] : [note])].join(' ');
}
