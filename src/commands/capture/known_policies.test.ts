import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { ApiHost } from '../../../test/support/api_host.ts';
import { makeEvents } from '../../../test/support/event_lines.ts';
import { eventually } from '../../../test/support/oracle.ts';
import { ipv4, ipv6, tcp, UDP, udp } from '../../../test/support/tunnel_packets.ts';
import { KnownPolicies } from './known_policies.ts';

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const POLICY = 'ingress denied: NetworkPolicy/shop/deny-all';
const DENIED: Partial<EventRecord> = {
  netns: '7',
  protocol: 'tcp',
  ...{ src: '10.8.0.1:40001', dst: '10.8.0.2:8080', reason: 'NETFILTER_DROP' },
  ...{ policy: POLICY, policyVerdict: 'denied' },
};

let host: ApiHost;
beforeAll(async () => {
  host = await ApiHost.open();
});
afterAll(() => host[Symbol.asyncDispose]());

const packet = (from: number, to = 8_080) => ipv4('10.8.0.1', '10.8.0.2', 6, tcp(from, to));

it('are those of the events before and during the capture, for all client ports of a connection', async () => {
  host.lane.receive(makeEvents(1, DENIED));
  using policies = new KnownPolicies({ url: `http://${host.address}` });
  await eventually(() => expect(policies.of(7, IPV4, packet(40_002))).toBe(POLICY));
  expect(policies.of(7, IPV4, packet(40_002, 8_081))).toBeUndefined();
  expect(policies.of(8, IPV4, packet(40_002))).toBeUndefined();
  const later: Partial<EventRecord> = {
    ...DENIED,
    protocol: 'udp',
    src: '[fd08::1]:40001',
    dst: '[fd08::2]:53',
    policy: 'another',
  };
  host.lane.receive(makeEvents(1, { ...later, policyVerdict: 'allowed' }));
  const lookup = ipv6('fd08::1', 'fd08::2', UDP, udp(40_009, 53, Buffer.alloc(0)));
  expect(policies.of(7, IPV6, lookup)).toBeUndefined();
  host.lane.receive(makeEvents(1, later));
  await eventually(() => expect(policies.of(7, IPV6, lookup)).toBe('another'));
  expect([...policies.used]).toEqual([POLICY, 'another']);
});

it('are unknown for packets without ports, and without an agent', async () => {
  using policies = new KnownPolicies({ url: `http://${host.address}` });
  await eventually(() => expect(policies.of(7, IPV4, packet(40_002))).toBe(POLICY));
  const whole = packet(40_002);
  for (let cut = 0; cut < 24; cut++) expect(policies.of(7, IPV4, whole.subarray(0, cut))).toBeUndefined();
  expect(policies.of(7, 0x0806, whole)).toBeUndefined();
  whole.writeUInt16BE(1, 6);
  expect(policies.of(7, IPV4, whole)).toBeUndefined();
  using none = new KnownPolicies({ url: 'http://127.0.0.1:1' });
  expect(none.of(7, IPV4, packet(40_002))).toBeUndefined();
});
