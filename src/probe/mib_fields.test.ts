import { expect, it } from 'vitest';
import { defineMetrics } from './metric.ts';
import { fieldsOf, sourceOf } from './mib_fields.ts';

const counter = { type: 'counter', scope: 'pod', help: 'A counter.', detail: 'full' } as const;
const family = { family: { help: 'IP version.', values: ['ipv4', 'ipv6'] } } as const;

const metrics = defineMetrics({
  segments: { ...counter, name: 'a_total', labels: {}, mib: ['Tcp', 'InSegs'] },
  packets: { ...counter, name: 'b_total', labels: family, mib: ['IpExt', 'InOctets'], mib6: ['Ip6', 'InOctets'] },
  tooBig: { ...counter, name: 'c_total', labels: family, mib6: ['Icmp6', 'InPktTooBigs'] },
  pressure: { ...counter, name: 'd_seconds_total', labels: {}, mib: ['TcpExt', 'Chrono', 'milliseconds'] },
  established: { ...counter, type: 'gauge', name: 'e', labels: {}, mib: ['Tcp', 'CurrEstab'] },
  other: { ...counter, name: 'f_total', labels: {}, source: 'net/snmp Tcp.OutSegs in words' },
});

it('names the origin of a metric as the files do', () => {
  expect(Object.values(metrics).map(sourceOf)).toEqual([
    'net/snmp Tcp.InSegs',
    'net/netstat IpExt.InOctets, net/snmp6 Ip6InOctets',
    'net/snmp6 Icmp6InPktTooBigs',
    'net/netstat TcpExt.Chrono, milliseconds',
    'net/snmp Tcp.CurrEstab',
    'net/snmp Tcp.OutSegs in words',
  ]);
});

it('has a field for each place, with the family if the metric has families, and none for origins in words', () => {
  const fields = fieldsOf(metrics);
  expect(fields.map(({ metric, table, field, labels }) => [metric, table, field, labels])).toEqual([
    ['segments', 'Tcp', 'InSegs', {}],
    ['packets', 'IpExt', 'InOctets', { family: 'ipv4' }],
    ['packets', 'Ip6', 'InOctets', { family: 'ipv6' }],
    ['tooBig', 'Icmp6', 'InPktTooBigs', { family: 'ipv6' }],
    ['pressure', 'TcpExt', 'Chrono', {}],
    ['established', 'Tcp', 'CurrEstab', {}],
  ]);
  const convert = new Map(fields.map((field) => [field.metric, field.convert]));
  expect(convert.get('segments')).toBeUndefined();
  expect(convert.get('pressure')?.(1500)).toBe(1.5);
  const minusTwo = 2n ** 64n - 2n;
  expect(convert.get('established')?.(minusTwo)).toBe(0);
});
