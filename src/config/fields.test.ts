import { describe, expect, it } from 'vitest';
import { PROBES } from '#probes/index.ts';
import { ConfigReader } from './load.ts';

const reader = new ConfigReader(PROBES);
const read = (probe: string, fields: unknown) => reader.parse(JSON.stringify({ probes: { [probe]: { fields } } }));

it('a list of metrics, with labels or without, is accepted by every probe', () => {
  const fields = [
    'netsonde_udp_sent_datagrams_total',
    'netsonde_udp_received_datagrams_total{family="ipv4"}',
    'netsonde_udp_no_port_total{family=~"ipv4|ipv6"}',
  ];
  expect(read('udp', fields).probes['udp']).toMatchObject({ fields, metrics: true });
  expect(reader.parse('{}').probes['udp']?.fields).toBeUndefined();
  for (const { name, metrics } of PROBES) {
    const all = Object.values<{ name: string }>(metrics).map((metric) => metric.name);
    expect(read(name, all).probes[name]?.fields, name).toEqual(all);
  }
});

it('tcpext takes its own keywords, or a list instead', () => {
  expect(read('tcpext', 'all').probes['tcpext']).toMatchObject({ options: { fields: 'all' } });
  expect(reader.parse('{}').probes['tcpext']).toMatchObject({ options: { fields: 'named' } });
  const fields = ['netsonde_tcp_aborts_total{cause="close"}'];
  expect(read('tcpext', fields).probes['tcpext']).toMatchObject({ fields, options: {} });
});

describe('an error has its place, its value and what to write', () => {
  it.each([
    ['udp', 'all', 'probes.udp.fields: "all" is not allowed; allowed: a list'],
    ['udp', [], 'probes.udp.fields: [] is not allowed; allowed: at least 1'],
    ['udp', [7], 'probes.udp.fields.0: 7 is not allowed; allowed: a string'],
    ['tcpext', 'some', 'probes.tcpext.fields: "some" is not allowed; allowed: named, all, or a list of metrics'],
    [
      'tcp',
      ['netsonde_tcp_active_opens_total', 'netsonde_tcp_pasive_opens_total'],
      'probes.tcp.fields.1: "netsonde_tcp_pasive_opens_total" is not allowed; allowed: a metric of tcp (did you mean netsonde_tcp_passive_opens_total?)',
    ],
    ['tcp', ['up'], 'probes.tcp.fields.0: "up" is not allowed; allowed: a metric of tcp (docs/metrics.md lists them)'],
    [
      'tcpext',
      ['up'],
      'probes.tcpext.fields.0: "up" is not allowed; allowed: a metric of tcpext (docs/metrics.md lists them)',
    ],
    [
      'tcp',
      ['netsonde_tcp_active_opens_total{'],
      'probes.tcp.fields.0: "netsonde_tcp_active_opens_total{" is not allowed; allowed: a metric, like netsonde_tcp_active_opens_total, or with labels, like netsonde_udp_no_port_total{family="ipv4"}',
    ],
    [
      'udp',
      ['netsonde_udp_no_port_total{familly="ipv4"}'],
      'allowed: a label of netsonde_udp_no_port_total with values that docs/metrics.md lists (family), not familly',
    ],
    ['udp', ['netsonde_udp_no_port_total{family=~"ipv4|ipv5"}'], 'allowed: one of ipv4, ipv6 for family, not "ipv5"'],
    [
      'netdev',
      ['netsonde_netdev_received_bytes_total{device="eth0"}'],
      'allowed: a label of netsonde_netdev_received_bytes_total with values that docs/metrics.md lists (none), not device',
    ],
  ])('%s: %j', (probe, fields, fault) => {
    expect(() => read(probe, fields)).toThrow(fault);
  });
});
