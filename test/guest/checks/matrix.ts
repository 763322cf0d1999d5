import { deepEqual, equal, match } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { CheckReport } from '#commands/check.ts';
import { DISCOVERY } from '#kernel/discovery_status.ts';
import { LIFECYCLE_HOOKS } from '#pods/lifecycle.ts';
import { PROBES } from '#probes/index.ts';
import { run } from '../../support/command.ts';
import { defineChecks, REPORT } from '../check.ts';
import { kernelFeatures } from '../features.ts';

const CONFIG = '/run/all.yaml';
const STATES = ['running', 'degraded', 'unsupported'];

async function open(): Promise<CheckReport> {
  writeFileSync(CONFIG, everyProbe());
  // The command fails if a probe has failed. The report says which one, and why.
  const report = JSON.parse(run('sh', '-c', `bin/netsonde check --json --config ${CONFIG} || true`)) as CheckReport;
  process.stdout.write(`${REPORT}${JSON.stringify(report)}\n`);
  return report;
}

/** These checks run last, because other checks load the kernel modules that the probes need. */
export const matrix = defineChecks('matrix', open, {
  'every probe runs, or reports what is missing': async (report) => {
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

  'probes use the best reader that the kernel supports': async (report) => {
    const { hasPass, dropReasons, dropReceivers } = kernelFeatures();
    const rows = new Map(
      report.probes.map(({ name, state, reader, reason }) => [name, [state, reader, reason].join(' ').trimEnd()]),
    );
    const row = (probe: string) => rows.get(probe) ?? '';
    const reader = hasPass ? /^running pass$/ : /^running files this kernel lacks the BPF helper bpf_loop/;
    for (const probe of ['tcp', 'tcpext', 'udp', 'ip', 'icmp', 'sock']) match(row(probe), reader);
    match(row('softnet'), /^running files$/);
    match(row('netdev'), hasPass ? /^running pass, netlink$/ : /^running files the kernel shows no struct /);
    match(row('qdisc'), hasPass ? /^running pass, netlink$/ : /^running netlink this kernel lacks/);
    // Without the receiving socket, a second tracepoint reports it.
    match(
      row('packetloss'),
      dropReceivers
        ? /^running tp_btf\/kfree_skb$/
        : dropReasons
          ? /^running tp_btf$/
          : /^degraded tp_btf .*gives no reasons for drops/,
    );
  },
});

/** Returns a configuration that enables every probe. */
export function everyProbe(): string {
  return `{ probes: { ${PROBES.map(({ name }) => `${name}: true`).join(', ')} } }`;
}
