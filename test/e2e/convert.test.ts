import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import { AgentProcess, BIN } from '../support/agent_process.ts';
import { dropUdp } from '../support/event_rate.ts';
import { HostPair } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';

const fixture = (name: string) => new URL(`../fixtures/kubeskoop/${name}.yaml`, import.meta.url);

function convert(args: readonly string[], input = ''): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(BIN, ['convert', ...args], { input, encoding: 'utf8' });
  return { code: status, stdout, stderr };
}

/** Probes that KubeSkoop's configuration enables. The converted configuration disables all other probes. */
const ASKED = [
  ...[
    'conntrack',
    'qdisc',
    'netdev',
    'io',
    'sock',
    'tcpsummary',
    'tcp',
    'tcpext',
    'udp',
    'kernellatency',
    'packetloss',
  ],
  ...['flow', 'tcpretrans', 'biolatency', 'tcpreset'],
];

describe('netsonde convert', () => {
  it('makes a configuration that the agent checks and runs: its probes, their events, its sink', async () => {
    await using directory = await mkdtempDisposable(join(tmpdir(), 'convert-'));
    const path = (name: string) => join(directory.path, name);
    const kubeskoop = readFileSync(fixture('config'), 'utf8').replace('/var/log/kubeskoop', directory.path);
    const { code, stdout, stderr } = convert(['-'], kubeskoop);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^netsonde: warning: line 18: metrics\.probes\.11\.args\.enablePortInLabel: /m);
    expect(stderr.trimEnd().split('\n')).toHaveLength(4);
    writeFileSync(path('netsonde.yaml'), stdout);

    await using check = AgentProcess.run(['check', '--config', path('netsonde.yaml')]);
    expect(await check.exited, check.stdout + check.stderr).toEqual({ code: 0, signal: null });

    await using pair = await HostPair.create();
    dropUdp(pair);
    await using agent = await AgentProcess.serve(['--config', path('netsonde.yaml'), '--state', path('state')]);
    await eventually(async () => {
      const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
      const on = probes.filter(({ state }) => state !== 'stopped').map(({ name }) => name);
      expect(on.sort()).toEqual([...ASKED].sort());
      expect(probes.filter(({ state }) => state === 'failed' || state === 'starting')).toEqual([]);
    });

    const port = await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 1, bytes: 9 });
    await eventually(() => {
      const written = readFileSync(path('events.json'), 'utf8').trimEnd().split('\n');
      const drops = written
        .map((line) => JSON.parse(line))
        .filter(({ src }) => src === `${pair.addressA.ipv4}:${port}`);
      expect(drops).toEqual([expect.objectContaining({ probe: 'packetloss', stack: expect.any(Array) })]);
    });
  });

  it('converts a manifest to a manifest', () => {
    const { code, stdout } = convert(['-o', 'configmap', fixture('manifest').pathname]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^apiVersion: v1\nkind: ConfigMap\n/);
    expect(stdout).toContain('      loki: { url: http://loki-service.kubeskoop:3100, structuredMetadata: false }');
  });

  it('fails with --strict if something is left out, and prints the rest', () => {
    const { code, stdout, stderr } = convert(['--strict', fixture('config').pathname]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^ {2}packetloss:.*\n {4}stack: true$/m);
    expect(stderr).toContain('left out');
    expect(convert(['--strict', '-'], 'metrics: { probes: [tcp] }').code).toBe(0);
  });

  it.each([
    [['-'], 'metrics:\n  probes: tcp', /^netsonde: standard input: line 2: metrics\.probes: "tcp" is not allowed/],
    [['-'], 'probes: {}', /^netsonde: standard input: has neither .* this is a netsonde configuration already$/m],
    [['-'], `#${'x'.repeat(2 ** 20)}`, /^netsonde: standard input: longer than 1048576 bytes$/m],
    [['/nowhere.yaml'], '', /^netsonde: ENOENT: .*\/nowhere\.yaml/],
    [[], '', /^netsonde: convert: give one file/],
    [['a', 'b'], '', /^netsonde: convert: give one file/],
    [['-', '-o', 'json'], '', /^netsonde: -o json: give yaml or configmap$/m],
  ])('%j is refused with a message', (args, input, message) => {
    const { code, stdout, stderr } = convert(args, input);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
  });
});
