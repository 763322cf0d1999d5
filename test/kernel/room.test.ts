import { expect, it } from 'vitest';
import { PROBES } from '#probes/index.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { ManyNetns } from '../support/many_netns.ts';
import { eventually } from '../support/oracle.ts';
import { withShares } from '../support/shares.ts';

const MANY = 300;
const FEW = 8;
const SHARES = { ofOwner: 1, ofUnlisted: 1 };
const SEEN = {
  packetloss: 'netsonde_packet_drops_total',
  tcpreset: 'netsonde_tcp_resets_total',
  socketlatency: 'netsonde_socket_read_delay_seconds_count',
  kernellatency: 'netsonde_kernel_receive_delay_seconds_count',
};
const ON = only(Object.fromEntries(Object.keys(SEEN).map((name) => [name, true])));

function podsOf({ samples }: Exposition, metric: string, names: readonly string[]): number {
  const pods = new Set(samples.filter(({ name }) => name === metric).map(({ labels }) => labels['pod']));
  return names.filter((name) => pods.has(name)).length;
}

it(`measures each of ${MANY} namespaces that come after an agent started on an empty node`, async () => {
  await using agent = await TestKernel.open(ON);
  await using many = await ManyNetns.create(MANY);
  await eventually(async () => {
    const listed = new Set((await agent.kernel.entities()).map(({ pod }) => pod));
    expect(many.names.filter((name) => !listed.has(name))).toEqual([]);
  });
  // Until the namespaces are listed, they share the map space of unlisted namespaces, which other tests may have
  // filled.
  await many.use();
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

it('is degraded, and reports the owner whose room is used up', async () => {
  await using agent = await TestKernel.open(ON, { probes: withShares(PROBES, SHARES) });
  const status = (name: string) => agent.kernel.probes().find((probe) => probe.name === name);
  await using _many = await ManyNetns.create(FEW);
  await eventually(async () => {
    const page = await agent.page();
    expect(sampleValue(page, 'netsonde_probe_state', { probe: 'socketlatency', state: 'degraded' })).toBe(1);
  });
  await eventually(() =>
    expect(status('socketlatency')?.reason).toMatch(/^socket_histograms: .* used all 1 rows that each Pod may have; /),
  );
});
