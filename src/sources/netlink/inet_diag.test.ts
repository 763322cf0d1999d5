import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tcpState } from '#bpf/generated/common.ts';
import { attribute, join, message } from '../../../test/support/netlink.ts';
import {
  decodeInetDiag,
  decodeListeners,
  type InetDiagRow,
  LISTENER_REQUESTS,
  TCP_DIAG_REQUESTS,
} from './inet_diag.ts';

const ignore = () => undefined;

const SOCK_DIAG_BY_FAMILY = 20;
const INET_DIAG_SHUTDOWN = 8;
const MESSAGE_BYTES = 16 + 72;

/** Returns an attribute filled with zeros. */
const zeros = (type: number, length: number) => attribute(type, new Uint8Array(length));

function diag(row: InetDiagRow, attributes: Uint8Array = new Uint8Array()): Buffer {
  const payload = new Uint8Array(72);
  const view = new DataView(payload.buffer);
  view.setUint8(0, 2);
  view.setUint8(1, row.state);
  view.setUint16(4, row.port, false);
  view.setUint32(56, row.receiveQueue, true);
  view.setUint32(60, row.sendQueue, true);
  return message(SOCK_DIAG_BY_FAMILY, join(payload, attributes));
}

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const anyRow = fc.record({
  state: fc.integer({ min: 0, max: 255 }).filter((state) => state !== tcpState.syn_recv),
  port: fc.integer({ min: 0, max: 65535 }),
  receiveQueue: u32,
  sendQueue: u32,
});
/** Generates sequences of well-formed attributes with arbitrary types and lengths. */
const anyAttributes = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 0x3fff }), fc.integer({ min: 0, max: 40 })), { maxLength: 4 })
  .map((list) => join(...list.map(([type, length]) => zeros(type, length))));

describe('decodeInetDiag', () => {
  it('asks for TCP sockets of a family in all states', () => {
    const [v4, v6] = [TCP_DIAG_REQUESTS.ipv4, TCP_DIAG_REQUESTS.ipv6];
    expect([...v4.subarray(0, 8)]).toEqual([72, 0, 0, 0, SOCK_DIAG_BY_FAMILY, 0, 1, 3]);
    expect([...v4.subarray(16, 24)]).toEqual([2, 6, 0, 0, 0xff, 0x1f, 0, 0]);
    expect(v6[16]).toBe(10);
  });

  it('returns the framed message, with any attributes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyRow, anyAttributes), { maxLength: 8 }), (messages) => {
        const decoded = decodeInetDiag(join(...messages.map(([row, attributes]) => diag(row, attributes))), ignore);
        expect(decoded).toEqual(messages.map(([row]) => row));
      }),
    );
  });

  it('distinguishes a connection request from a socket in SYN_RECV', () => {
    const row = { state: tcpState.syn_recv, port: 80, receiveQueue: 0, sendQueue: 0 };
    const states = (attributes: Uint8Array) => decodeInetDiag(diag(row, attributes), ignore)?.map(({ state }) => state);
    expect(states(zeros(INET_DIAG_SHUTDOWN, 1))).toEqual([tcpState.syn_recv]);
    expect(states(new Uint8Array())).toEqual([tcpState.new_syn_recv]);
    expect(states(zeros(15, 4))).toEqual([tcpState.new_syn_recv]);
    // The decoder ignores a truncated mask.
    expect(states(zeros(INET_DIAG_SHUTDOWN, 1).subarray(0, 3))).toEqual([tcpState.new_syn_recv]);
  });

  it('refuses an answer that is cut anywhere except between two messages', () => {
    const rows = [1, 6, tcpState.listen].map((state) => ({ state, port: 443, receiveQueue: 1, sendQueue: 2 }));
    const whole = join(...rows.map((row) => diag(row)));
    for (let length = 0; length <= whole.length; length++) {
      const cut = whole.subarray(0, length);
      const said: string[] = [];
      const decoded = decodeInetDiag(cut, (what) => said.push(what));
      const isWhole = length % MESSAGE_BYTES === 0;
      expect(decoded).toEqual(isWhole ? rows.slice(0, length / MESSAGE_BYTES) : undefined);
      expect(said).toHaveLength(isWhole ? 0 : 1);
    }
  });

  it('refuses a message that is too short, and skips those of other types', () => {
    expect(decodeInetDiag(message(SOCK_DIAG_BY_FAMILY, new Uint8Array(68)), ignore)).toBeUndefined();
    expect(decodeInetDiag(message(19, new Uint8Array(68)), ignore)).toEqual([]);
  });

  it('survives any bytes', () => {
    const decode = (bytes: Uint8Array) => {
      let said = 0;
      const decoded = decodeInetDiag(bytes, () => said++);
      return (decoded === undefined) === said > 0;
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), decode));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => decode(message(SOCK_DIAG_BY_FAMILY, bytes))));
  });
});

describe('decodeListeners', () => {
  const INET_DIAG_SKMEMINFO = 7;
  const DROPS = 4 + 8 * 4;
  const row = { state: tcpState.listen, port: 443, receiveQueue: 9, sendQueue: 8 };

  function listener(drops: number): Uint8Array {
    const memory = zeros(INET_DIAG_SKMEMINFO, 9 * 4);
    memory.writeUInt32LE(drops, DROPS);
    const bytes = diag(row, memory);
    bytes.set([10, 0, 0, 1], 16 + 8);
    bytes.writeBigUInt64LE(77n, 16 + 44);
    return bytes;
  }

  it('asks for the listeners of a family, with their memory', () => {
    expect([...LISTENER_REQUESTS.ipv4.subarray(16, 24)]).toEqual([2, 6, 1 << 6, 0, 0, 1 << 2, 0, 0]);
    expect(LISTENER_REQUESTS.ipv6[16]).toBe(10);
  });

  it('returns the listeners that have dropped something', () => {
    const messages = join(listener(0), listener(18), diag(row));
    expect(decodeListeners(messages, ignore)).toEqual([{ ...row, address: '10.0.0.1', cookie: 77n, drops: 18 }]);
  });

  it('leaves out a message that is cut short, and reports it', () => {
    const whole = join(listener(1), listener(2));
    for (let length = 0; length <= whole.length; length++) {
      const rows = decodeListeners(whole.subarray(0, length), ignore);
      expect([1, 2].slice(0, rows.length)).toEqual(rows.map(({ drops }) => drops));
    }
    const said: string[] = [];
    decodeListeners(message(SOCK_DIAG_BY_FAMILY, new Uint8Array(71)), (what) => said.push(what));
    expect(said).toEqual(['a socket whose message is too short']);
  });
});
