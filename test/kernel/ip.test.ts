import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MetricDescriptor } from '#probe/metric.ts';
import { ip } from '#probes/ip.ts';
import { CountedPair, expectNstat, makeTraffic, ofPod } from '../support/counters.ts';
import type { HostPair } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';

const ECN = 'netsonde_ip_received_ecn_packets_total';

let resources: CountedPair;
let pair: HostPair;

/** Sends packets with ECN marks, packets without a route, and multicast. */
const ODD = (other: string, other6: string) => `
import socket
def send(family, address, options=()):
    s = socket.socket(family, socket.SOCK_DGRAM)
    for option in options: s.setsockopt(*option)
    try: s.sendto(b'x', (address, 6000 if family == socket.AF_INET else 6001))
    except OSError: pass
for mark in (1, 1, 2, 3, 3, 3):
    send(socket.AF_INET, '${other}', [(socket.IPPROTO_IP, socket.IP_TOS, mark)])
    send(socket.AF_INET6, '${other6}', [(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, mark)])
for address in ('192.0.2.1', '192.0.2.2'): send(socket.AF_INET, address)
send(socket.AF_INET6, '2001:db8::1')
send(socket.AF_INET, '224.0.0.99')
`;

beforeAll(async () => {
  resources = await CountedPair.create(only({ ip: true }, { detail: 'full' }), async (hosts) => {
    hosts.b.netns.exec('sysctl -qw net.ipv4.ip_forward=1 net.ipv4.ip_default_ttl=77');
    await makeTraffic(hosts);
    hosts.a.netns.python(ODD(hosts.addressB.ipv4, hosts.addressB.ipv6));
  });
  ({ pair } = resources);
});

afterAll(() => resources?.[Symbol.asyncDispose]());

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('%s', (_, hostOf) => {
  it('ip equals nstat, IPv4 and IPv6', async () => {
    const host = hostOf();
    const counters = Object.values<MetricDescriptor>(ip.metrics).filter(
      ({ type, name }) => type === 'counter' && name !== ECN,
    );
    const { expected, page } = await expectNstat(resources, host, counters);
    const codepoints = { not_ect: 'InNoECTPkts', ect1: 'InECT1Pkts', ect0: 'InECT0Pkts', ce: 'InCEPkts' };
    for (const [codepoint, field] of Object.entries(codepoints)) {
      expect(ofPod(page, host, ECN, { family: 'ipv4', codepoint })).toBe(expected.get(`IpExt${field}`));
      expect(ofPod(page, host, ECN, { family: 'ipv6', codepoint })).toBe(expected.get(`Ip6${field}`));
    }
    // nstat does not print these two settings, so their values are compared here.
    expect(ofPod(page, host, 'netsonde_ip_forwarding_enabled')).toBe(host === pair.b ? 1 : 0);
    expect(ofPod(page, host, 'netsonde_ip_default_ttl')).toBe(host === pair.b ? 77 : 64);
    const moved = (metric: string, labels = {}) => ofPod(page, host, `netsonde_ip_${metric}_total`, labels);
    for (const family of ['ipv4', 'ipv6']) {
      expect(moved(host === pair.a ? 'fragments_generated' : 'reassembly_succeeded', { family })).toBeGreaterThan(0);
      expect(moved('received_ecn_packets', { family, codepoint: 'ce' })).toBe(host === pair.b ? 3 : 0);
    }
    expect(moved('send_no_routes', { family: 'ipv4' })).toBe(host === pair.a ? 3 : 0);
  });
});
