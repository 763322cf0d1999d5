import { readFileSync } from 'node:fs';
import { type CapabilityName, RIGHTS } from '#core/rights.ts';
import { table } from './markdown.ts';
import { SEEN_ONLY, STATED } from './seccomp_profile.ts';

/** Effect of a missing capability on a probe, measured with every probe enabled. */
export interface Loss {
  /** Capability set of the agent. `packets` and `processes` include `default`. */
  readonly set: 'default' | 'packets' | 'processes';
  /** Capability that was removed from the set; empty if the set was complete. */
  readonly without: string;
  readonly probes: readonly string[];
  readonly state: string;
  /** Name of the reader that the probe falls back to. */
  readonly reader?: string;
  /** Significant part of the reason that the probe reported. */
  readonly reason: string;
}

/** Results of `npm run rights` on Linux 6.18. */
export const MEASURED_FILE = new URL('measured_rights.json', import.meta.url);
export const LOSSES: readonly Loss[] = JSON.parse(readFileSync(MEASURED_FILE, 'utf8'));

/** Capabilities of the set `tools` without which a command fails. */
export interface ToolRights {
  /** The command with the options that decide what it needs. */
  readonly mode: string;
  readonly needs: readonly CapabilityName[];
}

export const MEASURED_TOOLS_FILE = new URL('measured_tool_rights.json', import.meta.url);
export const TOOL_RIGHTS: readonly ToolRights[] = JSON.parse(readFileSync(MEASURED_TOOLS_FILE, 'utf8'));

function code(words: readonly string[]): string {
  return words.map((word) => `\`${word}\``).join(' ');
}

/** Tables for docs/capabilities.md. */
export const RIGHTS_TABLES: Readonly<Record<string, string>> = {
  sets: table(
    ['set', 'component and chart value', 'capabilities', 'enables'],
    RIGHTS.map(({ name, adds, brings }) => [
      name,
      name === 'default' ? 'none (`manifests/base`, and the chart without values)' : `\`${name}\``,
      `${name === 'default' || name === 'tools' ? '' : '+ '}${code(adds)}`,
      brings,
    ]),
  ),
  losses: table(
    ['set', 'missing capability', 'probes', 'state', 'the reason contains'],
    LOSSES.map(({ set, without, probes, state, reader, reason }) => [
      set,
      without === '' ? '' : code([without]),
      code(probes),
      reader === undefined ? state : `${state}, with the reader \`${reader}\``,
      reason,
    ]),
  ),
  tools: table(
    ['command', 'needs'],
    TOOL_RIGHTS.map(({ mode, needs }) => [`\`${mode}\``, code(needs)]),
  ),
  calls: table(
    ['purpose', 'system calls'],
    [
      ...STATED.map(({ why, calls }) => [why, code(calls)]),
      ['Other calls that the agent made during the measurement.', code(SEEN_ONLY)],
    ],
  ),
};
