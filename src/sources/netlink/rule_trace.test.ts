import { expect, it } from 'vitest';
import { decodeMessages } from './message.ts';
import { decodeRules, decodeTrace, encodeTraceTable } from './rule_trace.ts';

const types = (bytes: Uint8Array) =>
  [...decodeMessages(bytes, (part) => expect.fail(part))].map(({ type }) => `${type >> 8}.${type & 0xff}`);

it.each(['10.0.0.1', 'fd00::1'])('a table for %s has a chain for each direction of packets, in one batch', (ip) => {
  const batch = encodeTraceTable('t', { protocol: 'tcp', ip, port: 40_000 });
  const chain = ['10.3', '10.6', '10.6'];
  expect(types(batch)).toEqual(['0.16', '10.0', ...chain, ...chain, '0.17']);
  expect(Buffer.from(batch).includes(Buffer.from([40_000 >> 8, 40_000 & 0xff]))).toBe(true);
});

it('malformed answers are no rules', () => {
  const told = { answered: () => expect.fail('answered'), dropped: () => expect.fail('dropped') };
  for (const bytes of [new Uint8Array(0), new Uint8Array(7), new Uint8Array(64).fill(0xff)]) decodeTrace(bytes, told);
  const rule = { family: 'inet', table: 't', chain: 'c', handle: 1n };
  expect(decodeRules(new Uint8Array(64).fill(0xff), rule)).toBeUndefined();
});

it('an error of the kernel is its errno', () => {
  const message = new Uint8Array(36);
  const view = new DataView(message.buffer);
  view.setUint32(0, 36, true);
  view.setUint16(4, 2, true);
  view.setInt32(16, -1, true);
  const errors: number[] = [];
  decodeTrace(message, { answered: (errno) => void errors.push(errno), dropped: () => undefined });
  expect(errors).toEqual([1]);
});
