import { expect, it } from 'vitest';
import type { Peer } from '#api/events.ts';
import { withDnsNames, withNamedServer } from './named_server.ts';

const RECORD = {
  dst: '192.0.2.1',
  dstPort: 443,
  dnsNames: ['pay.example', 'api.example'],
  message: 'A connection from 10.0.0.1:1 to 192.0.2.1:443 failed.',
};
const OUTSIDE: Peer = { kind: 'external', namespace: '', name: '', ip: '192.0.2.1' };

it('a record has names by DNS unless its server has another name', () => {
  expect(withDnsNames(RECORD)).toEqual(RECORD);
  expect(withDnsNames({ ...RECORD, peer: OUTSIDE }).dnsNames).toEqual(RECORD.dnsNames);
  for (const peer of [
    { ...OUTSIDE, name: 'datacenter' },
    { ...OUTSIDE, kind: 'service', namespace: 'shop', name: 'cart' } as const,
  ]) {
    expect(withDnsNames({ ...RECORD, peer })).toEqual({
      dst: '192.0.2.1',
      dstPort: 443,
      peer,
      message: RECORD.message,
    });
  }
});

it('the sentence of a record has the name behind the address of the server', () => {
  expect(withNamedServer(RECORD).message).toBe(
    'A connection from 10.0.0.1:1 to 192.0.2.1:443 (pay.example (+1)) failed.',
  );
  expect(
    withNamedServer({ ...RECORD, dnsNames: ['$&.example'], dst: 'fd00::1', message: 'to [fd00::1]:443, ' }).message,
  ).toBe('to [fd00::1]:443, ');
  const { dnsNames, ...unnamed } = RECORD;
  expect(withNamedServer(unnamed)).toBe(unnamed);
});
