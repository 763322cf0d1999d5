import { expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { makeEvents } from '../../../test/support/event_lines.ts';
import { causeOf } from './causes.ts';

function causeOfDrop(reason: string, symbol: string, more: Partial<EventRecord> = {}) {
  const [event] = makeEvents(1, { reason, symbol: `${symbol}+0x1f/0x200`, protocol: 'tcp', ...more });
  return event && causeOf(event);
}

/** Drops of firewalls, by the data path that network plugins use. */
it.each([
  ['nftables', 'NETFILTER_DROP', 'nft_do_chain'],
  ['iptables, and nftables before 6.9', 'NETFILTER_DROP', 'nf_hook_slow'],
  ['a verdict of a process, by NFQUEUE', 'NOT_SPECIFIED', 'nfqnl_reinject'],
  ['NFQUEUE without a process', 'NOT_SPECIFIED', 'nf_queue'],
  ['a BPF program at ingress', 'TC_INGRESS', '__netif_receive_skb_core.constprop.0'],
  ['a BPF program at egress', 'TC_EGRESS', '__dev_queue_xmit'],
  ['a BPF program at a control group', 'BPF_CGROUP_EGRESS', 'ip_finish_output'],
  ['a filter of a socket', 'SOCKET_FILTER', 'sk_filter_trim_cap'],
  ['native XDP at a veth device', 'NOT_SPECIFIED', 'veth_xdp_rcv_skb'],
  ['generic XDP', 'XDP', 'do_xdp_generic'],
  ['a flow of Open vSwitch that drops', 'OVS_DROP_EXPLICIT', 'do_execute_actions'],
  ['a flow of Open vSwitch that drops with an error', 'OVS_DROP_EXPLICIT_WITH_ERROR', 'do_execute_actions'],
  ['a flow of Open vSwitch without actions', 'OVS_DROP_LAST_ACTION', 'do_execute_actions'],
])('a drop by %s is that of a firewall', (_, reason, symbol) => {
  expect(causeOfDrop(reason, symbol)).toBe('firewall');
});

it.each([
  ['OVS_DROP_METER', 'do_execute_actions', 'other_drop'],
  ['OVS_DROP_CONNTRACK', 'ovs_ct_execute', 'other_drop'],
  ['NOT_SPECIFIED', 'ip_error', 'route'],
  ['NOT_SPECIFIED', 'tcp_v4_rcv', 'other_drop'],
  ['NO_SOCKET', 'tcp_v4_rcv', 'refused'],
  ['QDISC_DROP', '__dev_queue_xmit', 'full_queue'],
])('a drop with %s in %s is not that of a firewall', (reason, symbol, cause) => {
  expect(causeOfDrop(reason, symbol)).toBe(cause);
});
