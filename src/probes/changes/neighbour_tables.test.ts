import { expect, it } from 'vitest';
import { decodeNeighbourTables } from '#sources/netlink/neighbour_table.ts';
import { attribute, cString, join, message, neighbourTableMessage, numbers } from '../../../test/support/netlink.ts';
import { NeighbourTableWatch } from './neighbour_tables.ts';

const RTM_NEWNEIGHTBL = 64;

function table(name: string, tableFulls: bigint): Uint8Array {
  return neighbourTableMessage({ name, thresh3: 1024, config: { entries: 77 }, stats: { tableFulls } });
}

const decode = (...messages: readonly Uint8Array[]) => decodeNeighbourTables(join(...messages), () => undefined);

it('tables are those of ARP and of neighbour discovery, with entries, limit and overflows', () => {
  expect(decode(table('arp_cache', 5n), table('ndisc_cache', 0n), table('dn_neigh_cache', 9n))).toEqual([
    { family: 'ipv4', entries: 77, limit: 1024, overflows: 5 },
    { family: 'ipv6', entries: 77, limit: 1024, overflows: 0 },
  ]);
  const malformed: string[] = [];
  const short = message(
    RTM_NEWNEIGHTBL,
    join(numbers(2), attribute(1, cString('arp_cache')), attribute(4, numbers(1024)), attribute(5, numbers(0))),
  );
  decodeNeighbourTables(short, (what) => malformed.push(what));
  expect(malformed).toHaveLength(1);
});

it('a table is full when it has refused entries since the last look', () => {
  const watch = new NeighbourTableWatch();
  const look = (ipv4: bigint, ipv6: bigint) =>
    watch
      .look(decode(table('arp_cache', ipv4), table('ndisc_cache', ipv6)))
      .map(({ family, refused }) => [family, refused]);
  expect(look(5n, 0n)).toEqual([]);
  expect(look(5n, 0n)).toEqual([]);
  expect(look(8n, 0n)).toEqual([['ipv4', 3]]);
  expect(look(8n, 2n)).toEqual([['ipv6', 2]]);
});
