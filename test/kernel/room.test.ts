import { expect, it } from 'vitest';
import type { AnyProbe } from '#probe/contract.ts';
import { PROBES } from '#probes/index.ts';
import type { BpfSource, ObjectSpec } from '#sources/bpf/source.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { TestKernel } from '../support/kernel.ts';
import { ManyNetns } from '../support/many_netns.ts';
import { eventually } from '../support/oracle.ts';

const MANY = 300;
const FEW = 8;
const SEEN = {
  packetloss: 'netsonde_packet_drops_total',
  tcpreset: 'netsonde_tcp_resets_total',
  socketlatency: 'netsonde_socket_read_delay_seconds_count',
  kernellatency: 'netsonde_kernel_receive_delay_seconds_count',
};
const ON = JSON.stringify({ probes: Object.fromEntries(Object.keys(SEEN).map((name) => [name, true])) });

function podsOf({ samples }: Exposition, metric: string, names: readonly string[]): number {
  const pods = new Set(samples.filter(({ name }) => name === metric).map(({ labels }) => labels['pod']));
  return names.filter((name) => pods.has(name)).length;
}

/** The same source, whose maps by namespace have room for few. */
function crowded(bpf: BpfSource): BpfSource {
  const load = (spec: ObjectSpec) => {
    const onDemand = Object.fromEntries(Object.keys(spec.onDemand ?? {}).map((map) => [map, FEW]));
    return bpf.load({ ...spec, onDemand });
  };
  return new Proxy(bpf, {
    get: (_, key) => {
      const value: unknown = key === 'load' ? load : Reflect.get(bpf, key, bpf);
      return typeof value === 'function' ? value.bind(bpf) : value;
    },
  });
}

const CROWDED: readonly AnyProbe[] = PROBES.map((probe) => ({
  ...probe,
  open: (scope, sources, settings) => probe.open(scope, { ...sources, bpf: crowded(sources.bpf) }, settings),
}));

it(`measures each of ${MANY} namespaces that come after an agent began on an empty node`, async () => {
  await using agent = await TestKernel.open(ON);
  await using many = await ManyNetns.create(MANY);
  await eventually(async () => {
    const page = await agent.page();
    const seen = Object.entries(SEEN).map(([probe, metric]) => [probe, podsOf(page, metric, many.names)]);
    expect(Object.fromEntries(seen)).toEqual({
      packetloss: MANY,
      tcpreset: 0,
      socketlatency: MANY,
      kernellatency: MANY,
    });
  });
  for (const { name, reason } of agent.kernel.probes()) if (name in SEEN) expect(reason, name).not.toContain('entries');
});

it('is degraded, and says which map has no room', async () => {
  await using agent = await TestKernel.open(ON, { probes: CROWDED });
  const status = (name: string) => agent.kernel.probes().find((probe) => probe.name === name);
  {
    await using many = await ManyNetns.create(4 * FEW);
    await eventually(async () => {
      const page = await agent.page();
      expect(sampleValue(page, 'netsonde_probe_state', { probe: 'socketlatency', state: 'degraded' })).toBe(1);
      expect(podsOf(page, SEEN.socketlatency, many.names)).toBeLessThanOrEqual(FEW);
    });
    expect(status('socketlatency')?.reason).toMatch(/^socket_histograms holds 8 of 8 entries/);
    await eventually(() => expect(status('kernellatency')?.reason).toContain('kernel_histograms holds 8 of 8 entries'));
    await eventually(() => expect(status('packetloss')?.reason).toContain('counts holds 8 of 8 entries'));
  }
});
