import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import { ChangesProbe } from './changes_probe.ts';
import { HostPair } from './hosts.ts';
import { eventually } from './oracle.ts';

/**
 * Sends traffic between two namespaces whose neighbour entries must be confirmed repeatedly, and checks that there are
 * no changes and no events. Then sets a link down, and checks that this is the only event.
 */
export async function checkQuietNetwork(seconds: number): Promise<void> {
  await using pair = await HostPair.create();
  const { a, b, deviceA, addressB } = pair;
  a.netns.ip('link add br0 type bridge');
  a.netns.ip('link set br0 up');
  a.netns.ip(`neigh del ${addressB.ipv4} dev ${deviceA}`);
  a.netns.exec(
    `sysctl -qw net.ipv4.neigh.${deviceA}.base_reachable_time_ms=1000 net.ipv4.neigh.${deviceA}.delay_first_probe_time=1`,
  );
  await b.udpReceive({ address: addressB.ipv4, port: 7000 });
  // The kernel assigns IPv6 addresses to a new device asynchronously.
  await eventually(() => expect(a.netns.ip('-6 addr show')).not.toContain('tentative'));
  await using probe = await ChangesProbe.open(a.netns);
  for (const endMs = performance.now() + seconds * 1_000; performance.now() < endMs; await wait(500)) {
    await a.udpSend({ address: addressB.ipv4, port: 7000, count: 5, bytes: 100 });
    probe.sweep();
  }
  const counts = Object.keys(await probe.counts()).filter((key) => !/^neighbour(Entries|Limit|Overflows)/.test(key));
  expect(counts).toEqual([]);
  // All namespaces share the neighbour tables, so other programs may fill them.
  const events = () => probe.events.filter(({ type }) => type !== 'neighbour_table_full');
  expect(events()).toEqual([]);
  a.netns.ip('link set br0 down');
  await eventually(() =>
    expect(events().map(({ fields }) => `${fields['device']} ${fields['change']}`)).toEqual(['br0 down']),
  );
}
