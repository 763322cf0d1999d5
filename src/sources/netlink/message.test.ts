import fc from 'fast-check';
import {
  formatAddress,
  formatLink,
  formatNeighborTable,
  formatRtExtFilter,
  formatTc,
  MessageType,
} from 'netlink/dist/rt/gen_structs.js';
import { describe, expect, it } from 'vitest';
import { attribute, join, message, numbers, requestOf } from '../../../test/support/netlink.ts';
import { ADDRESS_REQUEST, decodeAddresses } from './address.ts';
import { decodeDeviceStats } from './device_stats.ts';
import { decodeListeners } from './inet_diag.ts';
import { decodeLinks, LINK_REQUEST } from './link.ts';
import { decodeAttributes, decodeMessages, encodeRequest, NLM_F_DUMP, text, u32 } from './message.ts';
import { decodeNeighbourTables, NEIGHBOUR_TABLES } from './neighbour_table.ts';
import { decodeQdiscs, QDISC_REQUEST } from './qdisc.ts';
import { decodeRdmaResources } from './rdma.ts';

const ignore = () => undefined;

const { NEWLINK, NEWADDR, NEWQDISC, NEWNEIGHTBL, NEWSTATS } = MessageType;
const SOCK_DIAG_BY_FAMILY = 20;
const RDMA_RES_GET = (5 << 10) | 9;
const TYPES = [NEWLINK, NEWADDR, NEWQDISC, NEWNEIGHTBL, NEWSTATS, SOCK_DIAG_BY_FAMILY, RDMA_RES_GET];
const DECODERS = [
  decodeQdiscs,
  decodeLinks,
  decodeAddresses,
  decodeRdmaResources,
  decodeNeighbourTables,
  decodeListeners,
];

describe('the framing', () => {
  it('returns what was framed', () => {
    const attributes = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 100 }), fc.uint8Array({ maxLength: 40 })), {
      selector: ([type]) => type,
    });
    fc.assert(
      fc.property(attributes, (given) => {
        const payload = join(numbers(1), ...given.map(([type, value]) => attribute(type, value)));
        const [only] = decodeMessages(message(99, payload), ignore);
        const decoded = only === undefined ? new Map() : decodeAttributes(only.payload, 4);
        return (
          only?.type === 99 &&
          decoded.size === given.length &&
          given.every(([type, value]) => decoded.get(type)?.end - decoded.get(type)?.start === value.length)
        );
      }),
    );
  });

  it('survives any bytes', () => {
    const anyBytes = fc.uint8Array({ maxLength: 200 });
    const decodeAll = (bytes: Uint8Array) => {
      for (const decode of DECODERS) expect(Array.isArray(decode(bytes, ignore))).toBe(true);
      decodeDeviceStats(bytes, ignore);
    };
    fc.assert(fc.property(anyBytes, decodeAll));
    fc.assert(fc.property(fc.constantFrom(...TYPES), anyBytes, (type, bytes) => decodeAll(message(type, bytes))));
  });

  it('builds a request with its header', () => {
    const bytes = encodeRequest(38, NLM_F_DUMP, Uint8Array.of(1, 2, 3, 4));
    expect([...bytes]).toEqual([20, 0, 0, 0, 38, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
  });

  it.each([
    [
      'links',
      LINK_REQUEST,
      MessageType.GETLINK,
      [formatLink({}), attribute(29, numbers(formatRtExtFilter({ skipStats: true })))],
    ],
    ['addresses', ADDRESS_REQUEST, MessageType.GETADDR, [formatAddress({})]],
    ['qdiscs', QDISC_REQUEST, MessageType.GETQDISC, [formatTc({})]],
    ['neighbour tables', NEIGHBOUR_TABLES.request, MessageType.GETNEIGHTBL, [formatNeighborTable({})]],
  ])('builds the dump request of another encoder: %s', (_, request, type, payload) => {
    expect([...request]).toEqual([...requestOf(type, ...payload)]);
  });

  it('ends a string at its first NUL, and refuses a number that is cut', () => {
    const view = new DataView(Uint8Array.from(Buffer.from('ab\0c')).buffer);
    expect(text({ view, start: 0, end: 4 })).toBe('ab');
    expect(u32({ view, start: 1, end: 4 })).toBeUndefined();
  });
});
