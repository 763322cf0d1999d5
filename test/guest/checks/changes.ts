import { deepEqual, equal } from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { changes } from '#probes/changes/changes.ts';
import { sh } from '../../support/command.ts';
import { sampleValue } from '../../support/exposition.ts';
import { TestNetns } from '../../support/hosts.ts';
import { TestKernel } from '../../support/kernel.ts';
import { eventually } from '../../support/oracle.ts';
import { defineChecks } from '../check.ts';

const SYSCTL = '/proc/sys/net/ipv4/neigh/default';
const LIMIT = 16;

/** Sends datagrams to more addresses than fit into the neighbour table. Sending to the remaining addresses fails. */
const FILL = `
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for host in range(2, 60):
    try:
        sender.sendto(b'x', ('10.8.0.%d' % host, 9))
    except OSError:
        pass
`;

/**
 * Returns the number of entries that did not fit into the ARP table. It is the sum of a hexadecimal column with one row
 * per CPU.
 */
function tableFulls(): number {
  const [header = '', ...rows] = readFileSync('/proc/net/stat/arp_cache', 'utf8').trim().split('\n');
  const column = header.trim().split(/\s+/).indexOf('table_fulls');
  return rows.reduce((sum, row) => sum + Number.parseInt(row.trim().split(/\s+/)[column] ?? '', 16), 0);
}

const open = (resources: AsyncDisposableStack) =>
  TestKernel.open('{}', { probes: [changes] }).then((agent) => resources.use(agent));

export const changesChecks = defineChecks('changes', open, {
  "devices of the node's own network are counted by name, and each change is one event": async (agent) => {
    for (const command of ['add br9 type bridge', 'set br9 up', 'set br9 mtu 1400', 'set br9 down', 'del br9']) {
      sh(`ip link ${command}`);
    }
    const expected = ['added', 'up', 'mtu', 'down', 'removed'];
    await eventually(() => {
      const events = agent.events.filter(({ type }) => type === 'link_changed');
      deepEqual(
        events.map((event) => ['device' in event && event['device'], 'change' in event && event['change'], event.pod]),
        expected.map((change) => ['br9', change, '']),
      );
    });
    const page = await agent.page();
    for (const change of expected) {
      equal(sampleValue(page, 'netsonde_link_changes_total', { device: 'br9', change }), 1);
    }
  },

  'a full table of neighbours is one event, with the number of refusals that the kernel has counted': async (agent) => {
    using netns = new TestNetns();
    netns.ip('link add va type veth peer name vb');
    netns.ip('addr add 10.8.0.1/24 dev va');
    for (const device of ['va', 'vb']) netns.ip(`link set ${device} up`);
    const before = readFileSync(`${SYSCTL}/gc_thresh3`, 'utf8');
    const fullsBefore = tableFulls();
    writeFileSync(`${SYSCTL}/gc_thresh3`, `${LIMIT}`);
    try {
      netns.python(FILL);
    } finally {
      writeFileSync(`${SYSCTL}/gc_thresh3`, before);
    }
    const refused = tableFulls() - fullsBefore;
    equal(refused > 0, true);
    const events = await eventually(() => {
      const found = agent.events.filter(({ type }) => type === 'neighbour_table_full');
      equal(found.length, 1);
      return found;
    });
    const [event] = events;
    deepEqual(
      [event && 'family' in event && event['family'], event && 'overflows' in event && event['overflows']],
      ['ipv4', refused],
    );
    equal(
      sampleValue(await agent.page(), 'netsonde_neighbour_table_overflows_total', { family: 'ipv4' }),
      tableFulls(),
    );
  },
});
