import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { PROBES } from '#probes/index.ts';
import { TRACKED_FIELDS } from '#probes/packetloss/tracked.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { makeEvents } from '../../test/support/event_lines.ts';
import { ConnectionIds, connectionOf } from './connection_id.ts';

const ids = new ConnectionIds();

function event(more: Partial<EventRecord>): EventRecord {
  const [made] = makeEvents(1, { protocol: 'tcp', ...more });
  if (made === undefined) throw new Error('none made');
  return made;
}

function idOf(more: Partial<EventRecord>, known?: 'src' | 'dst'): string | undefined {
  const connection = connectionOf(event(more), known, DEFAULT_PORT_RANGE);
  return connection && ids.of(connection);
}

const REQUEST = { src: '10.0.0.1:40000', dst: '10.0.0.2:8080' };
const ANSWER = { src: REQUEST.dst, dst: REQUEST.src };

it('is the same for both directions and all client ports', () => {
  const id = idOf(REQUEST);
  expect(id).toMatch(/^[A-Za-z0-9_-]{8}$/);
  expect(idOf(ANSWER)).toBe(id);
  expect(idOf({ ...REQUEST, src: '10.0.0.1:40001' })).toBe(id);
  expect(idOf({ src: '[fd00::1]:40000', dst: '[fd00::2]:8080' })).toMatch(/^[A-Za-z0-9_-]{8}$/);
});

it.each([
  ['client', { src: '10.0.0.3:40000' }],
  ['server', { dst: '10.0.0.3:8080' }],
  ['port', { dst: '10.0.0.2:8081' }],
  ['protocol', { protocol: 'udp' }],
])('differs with the %s', (_, other) => {
  expect(idOf({ ...REQUEST, ...other })).not.toBe(idOf(REQUEST));
});

it.each([
  ['ICMP', { src: '10.0.0.1', dst: '10.0.0.2', protocol: 'icmp' }],
  ['a neighbour', { dst: '10.0.0.2', protocol: 'arp' }],
  ['a later fragment', { src: '10.0.0.1', dst: '10.0.0.2' }],
  ['a listening socket', {}],
])('is absent for %s', (_, ends) => {
  expect(idOf(ends)).toBeUndefined();
});

it('follows the type of the event, if the type shows the client', () => {
  const high = { src: '10.0.0.1:40000', dst: '10.0.0.2:50000' };
  expect(idOf(high, 'src')).toBe(idOf({ src: high.dst, dst: high.src }, 'dst'));
  expect(idOf(high, 'src')).not.toBe(idOf(high));
});

it('is the same for both directions if neither port shows the client', () => {
  const port = fc.integer({ min: 0, max: 65_535 });
  const ip = fc.ipV4();
  fc.assert(
    fc.property(ip, port, ip, port, (a, aPort, b, bPort) => {
      const [one, other] = [`${a}:${aPort}`, `${b}:${bPort}`];
      expect(idOf({ src: one, dst: other })).toBe(idOf({ src: other, dst: one }));
    }),
  );
});

const TRACKED = { connectionClient: '10.0.0.1:40000', connectionServer: '10.0.0.2:8080' };

it('uses the addresses after translation', () => {
  const service = { connectionService: '10.96.0.1:80' };
  expect(idOf({ src: '10.0.0.1:40000', dst: '10.96.0.1:80', ...TRACKED, ...service })).toBe(idOf(REQUEST));
  const masquerade = { ...TRACKED, connectionSource: '10.0.0.9:40123' };
  expect(idOf({ ...REQUEST, ...masquerade })).toBe(idOf({ src: '10.0.0.9:40123', dst: '10.0.0.2:8080' }));
});

it('uses the connection to which an ICMP error refers', () => {
  const error = { src: '10.0.0.254', dst: '10.0.0.1', protocol: 'icmp', ...TRACKED, connectionProtocol: 'tcp' };
  expect(idOf(error)).toBe(idOf(REQUEST));
  expect(idOf({ src: '10.0.0.1', dst: '10.0.0.2', protocol: 'icmp', ...TRACKED, connectionServer: '10.0.0.2' })).toBe(
    undefined,
  );
});

it('no other type has fields with these names', () => {
  const names = Object.keys(TRACKED_FIELDS);
  const types = PROBES.flatMap(({ events }) => Object.entries<EventDescriptor>(events));
  const using = types.filter(([, { fields }]) => names.some((name) => name in fields)).map(([type]) => type);
  expect(using).toEqual(['packet_drop']);
});
