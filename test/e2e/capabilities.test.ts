import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import { AGENT_RIGHTS, capabilitiesOf, type RightsSet } from '#core/rights.ts';
import { PROBES } from '#probes/index.ts';
import { LOSSES } from '../../scripts/rights_tables.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { eventually } from '../support/oracle.ts';
import { NEED_MODULES, testRights } from '../support/rights/losses.ts';
import { CONTEXTS, RightsScene } from '../support/rights/scene.ts';
import { compileProfile, type Profile, underFilter } from '../support/seccomp.ts';

const AF_NETLINK = 16;
const EAFNOSUPPORT = 97;
/**
 * Probes whose programs take 2 to 5 s of CPU time in the verifier. `packetloss` and `udpflow` need the same rights.
 * test/soak/rights.test.ts leaves out none.
 */
const LARGE = new Set(['http', 'dns', 'flow', 'tcpconnect', 'tcpsummary']);

describe('docs/capabilities.md', () => {
  it('has the shipped sets, and a loss for each of their capabilities', () => {
    for (const [name, { capabilities }] of Object.entries(CONTEXTS)) {
      const sets: RightsSet['name'][] = name === 'all' ? ['packets', 'processes'] : [name as RightsSet['name']];
      expect([...capabilities.add].sort(), name).toEqual([...capabilitiesOf(sets)].sort());
      expect(capabilities.drop).toEqual(['ALL']);
    }
    for (const { name, adds } of AGENT_RIGHTS) {
      const isMissed = (capability: string) =>
        LOSSES.some(({ set, without, reason }) =>
          name === 'packets' ? reason.includes(capability) : set === name && without === capability,
        );
      for (const capability of adds) expect(isMissed(capability), `${name} ${capability}`).toBe(true);
    }
  });

  it('knows every probe, and every capability that a probe requires', () => {
    const names = PROBES.map(({ name }) => name);
    for (const { probes } of LOSSES) expect(names).toEqual(expect.arrayContaining([...probes]));
    for (const { name, requires } of PROBES) {
      for (const capability of requires.capabilities) {
        const short = capability.replace('CAP_', '');
        expect(capabilitiesOf(['packets', 'processes']), name).toContain(short);
        // At least one row must show that the probe names the missing capability.
        const missed = LOSSES.filter(({ probes }) => probes.includes(name)).map(
          ({ without, reason }) => `${without} ${reason}`,
        );
        if (!NEED_MODULES.has(name)) expect(missed.join(), `${name} ${capability}`).toContain(short);
      }
    }
  });
});

testRights(LARGE);

describe('the shipped securityContext, or less', () => {
  let scene: RightsScene;
  beforeAll(async () => {
    scene = await RightsScene.start();
  });
  afterAll(() => scene?.[Symbol.asyncDispose]());

  /** The only part of a default probe that needs a right beyond the default set. */
  const NO_LOOKUP = 'peers behind NAT have the translated address: looking up connections needs CAP_NET_ADMIN';

  it('of the base starts without a warning, and runs all default probes', async () => {
    const context = CONTEXTS.default;
    const confined = scene.confine(context, context.runAsUser, context.capabilities.add);
    await using agent = await AgentProcess.serve([], confined);
    await eventually(async () => expect((await agent.get('/readyz')).status).toBe(200));
    const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    const on = new Set(PROBES.filter(({ enabledByDefault }) => enabledByDefault).map(({ name }) => name));
    expect(
      probes.filter(({ name }) => on.has(name)).map(({ name, state, reason }) => `${name} ${state} ${reason}`),
    ).toEqual([...on].map((name) => `${name} running ${name === 'flow' ? NO_LOOKUP : ''}`));
    expect(agent.stderr).not.toMatch(/ (warn|error) /);
  });

  it('under a filter that refuses netlink and bpf() each probe names the filter, and no probe runs without delivering data', async () => {
    const refusing: Profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        { names: ['bpf'], action: 'SCMP_ACT_ERRNO' },
        // systemd's RestrictAddressFamilies returns this error.
        {
          names: ['socket'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: EAFNOSUPPORT,
          args: [{ index: 0, value: AF_NETLINK, op: 'SCMP_CMP_EQ' }],
        },
      ],
    };
    const file = scene.pathOf('refusing');
    writeFileSync(file, compileProfile(refusing));
    await using agent = await AgentProcess.serve(['--config', scene.configure(LARGE)], underFilter(file));
    await eventually(async () => expect((await agent.get('/readyz')).status).toBe(200));
    const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    const seen = new Map(probes.map(({ name, state, reason }) => [name, `${state}: ${reason}`]));
    expect(seen.get('qdisc')).toMatch(
      /^unsupported: a filter of system calls \(seccomp\) refuses socket\(AF_NETLINK\)/,
    );
    expect(seen.get('conntrack')).toMatch(
      /^unsupported: a filter of system calls \(seccomp\) refuses socket\(AF_NETLINK\)/,
    );
    expect(seen.get('packetloss')).toMatch(/^unsupported: .*a filter of system calls \(seccomp\) refuses bpf/);
    expect(seen.get('tcp')).toMatch(/^running: .*a filter of system calls \(seccomp\) refuses bpf/);
  });
});
