import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { icmp } from '#probes/icmp.ts';
import { CountedPair, expectNstat, makeTraffic, ofPod } from '../support/counters.ts';
import type { HostPair } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';

let resources: CountedPair;
let pair: HostPair;

/** Sends echo requests, including one with a wrong checksum, and messages of other types. */
const MESSAGES = (other: string, other6: string) => `
import socket, struct
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
def send(type, code, wrong=0):
    body = struct.pack('!BBHHH', type, code, 0, 1, 1) + bytes(28)
    raw.sendto(struct.pack('!BBHHH', type, code, checksum(body) ^ wrong, 1, 1) + bytes(28), ('${other}', 0))
for _ in range(4): send(8, 0)
send(8, 0, wrong=1)
send(11, 0); send(12, 0); send(13, 0)
for type in (128, 128, 128, 3, 4, 2): raw6.sendto(struct.pack('!BBHHH', type, 0, 0, 1, 1) + bytes(40), ('${other6}', 0))
`;

beforeAll(async () => {
  resources = await CountedPair.create(only({ icmp: true }, { detail: 'full' }), async (hosts) => {
    await makeTraffic(hosts);
    hosts.a.netns.python(MESSAGES(hosts.addressB.ipv4, hosts.addressB.ipv6));
  });
  ({ pair } = resources);
});

afterAll(() => resources?.[Symbol.asyncDispose]());

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('%s', (_, hostOf) => {
  it('icmp equals nstat, IPv4 and IPv6', async () => {
    const host = hostOf();
    const { page } = await expectNstat(resources, host, Object.values(icmp.metrics));
    const value = (metric: string, family: string) => ofPod(page, host, `netsonde_icmp_${metric}_total`, { family });
    const receiver = host === pair.b;
    expect(value('received_echo_requests', 'ipv4')).toBe(receiver ? 4 : 0);
    expect(value('received_echo_replies', 'ipv4')).toBe(receiver ? 0 : 4);
    expect(value('checksum_errors', 'ipv4')).toBe(receiver ? 1 : 0);
    expect(value('received_echo_requests', 'ipv6')).toBe(receiver ? 3 : 0);
    expect(value('received_packet_too_big', 'ipv6')).toBe(receiver ? 1 : 0);
    expect(value(receiver ? 'sent_destination_unreachable' : 'received_destination_unreachable', 'ipv4')).toBe(3);
    expect(value(receiver ? 'sent_destination_unreachable' : 'received_destination_unreachable', 'ipv6')).toBe(3);
  });
});
