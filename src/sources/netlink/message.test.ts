import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attribute, join, message, numbers } from '../../../test/support/netlink.ts';
import { decodeAddresses } from './address.ts';
import { decodeLinks } from './link.ts';
import { decodeAttributes, decodeMessages, encodeRequest, NLM_F_DUMP, text, u32 } from './message.ts';
import { decodeQdiscs } from './qdisc.ts';
import { decodeRdmaResources } from './rdma.ts';

const ignore = () => undefined;

const RDMA_RES_GET = (5 << 10) | 9;

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
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decodeQdiscs(bytes, ignore);
        decodeLinks(bytes, ignore);
        decodeAddresses(bytes, ignore);
        decodeRdmaResources(bytes, ignore);
      }),
    );
    fc.assert(
      fc.property(fc.constantFrom(16, 20, 36, RDMA_RES_GET), fc.uint8Array({ maxLength: 200 }), (type, bytes) => {
        const framed = message(type, bytes);
        const decoders = [decodeQdiscs, decodeLinks, decodeAddresses, decodeRdmaResources];
        return decoders.every((decode) => Array.isArray(decode(framed, ignore)));
      }),
    );
  });

  it('builds a request with its header', () => {
    const bytes = encodeRequest(38, NLM_F_DUMP, Uint8Array.of(1, 2, 3, 4));
    expect([...bytes]).toEqual([20, 0, 0, 0, 38, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
  });

  it('ends a string at its first NUL, and refuses a number that is cut', () => {
    const view = new DataView(Uint8Array.from(Buffer.from('ab\0c')).buffer);
    expect(text({ view, start: 0, end: 4 })).toBe('ab');
    expect(u32({ view, start: 1, end: 4 })).toBeUndefined();
  });
});
