import { deepEqual, equal } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { CheckReport } from '#commands/check.ts';
import { DISCOVERY } from '#kernel/discovery_status.ts';
import { LIFECYCLE_HOOKS } from '#pods/lifecycle.ts';
import { PROBES } from '#probes/index.ts';
import { run } from '../../support/command.ts';
import { defineChecks, REPORT } from '../check.ts';

const CONFIG = '/run/all.yaml';
const STATES = ['running', 'degraded', 'unsupported'];

/** This check runs last, because the other checks load the kernel modules that probes need. */
export const matrix = defineChecks('matrix', async () => undefined, {
  'every probe runs, or reports what is missing': async () => {
    writeFileSync(CONFIG, everyProbe());
    const report = JSON.parse(run('bin/netsonde', 'check', '--json', '--config', CONFIG)) as CheckReport;
    process.stdout.write(`${REPORT}${JSON.stringify(report)}\n`);
    deepEqual(
      report.probes.map(({ name }) => name),
      [DISCOVERY, ...PROBES.map(({ name }) => name)],
    );
    const silent = report.probes.filter(
      ({ state, reader, reason }) => !STATES.includes(state) || (state === 'running' ? reader : reason) === '',
    );
    deepEqual(silent, []);
    const tables = [{ name: DISCOVERY, hooks: LIFECYCLE_HOOKS }, ...PROBES];
    const points = tables.flatMap(({ name, hooks }) => hooks?.points.map(({ what }) => `${name} ${what}`) ?? []);
    deepEqual(
      report.hooks.map(({ probe, what }) => `${probe} ${what}`),
      points,
    );
    equal(
      report.hooks.find(({ hooks, reason }) => hooks.length === 0 && reason === ''),
      undefined,
    );
  },
});

/** Returns a configuration that enables every probe. */
export function everyProbe(): string {
  return `{ probes: { ${PROBES.map(({ name }) => `${name}: true`).join(', ')} } }`;
}
