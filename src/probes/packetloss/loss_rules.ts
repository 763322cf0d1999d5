import { discardClass, dropLimit, lossRule } from '#bpf/generated/common.ts';
import { isDescribed } from './drop_hints.ts';
import type { DropReasons } from './drop_reasons.ts';

/** Classes in enum discard_class, in the same order as in the BPF program. */
export const DISCARD_CLASSES = [
  'answered_by_reset',
  'control',
  'duplicate',
  'no_listener_multicast',
  'not_for_us',
  'before_forwarding',
  'unhandled_protocol',
  'purged',
  'configured',
  'unclassified',
] as const satisfies readonly (keyof typeof discardClass)[];

/** Description of each class for the documentation. */
export const CLASS_HELP: Readonly<Record<(typeof DISCARD_CLASSES)[number], string>> = {
  answered_by_reset:
    'A TCP segment that is not a request and matches no connection. The kernel responds with a reset, which `netsonde_tcp_resets_total` counts.',
  control:
    'A packet without data that was processed: an acknowledgement, a closing segment, a reset, an ICMP error or reply, neighbour discovery, a multicast group report, a DHCP reply.',
  duplicate: 'Data or a fragment that was already received.',
  no_listener_multicast: 'A multicast or broadcast packet that no socket in the namespace listens for.',
  not_for_us: 'A frame for the MAC address of another host, seen on a flooded or promiscuous port.',
  before_forwarding: 'A multicast or broadcast packet on a bridge port that does not forward yet.',
  unhandled_protocol: 'A frame of a type that this host does not handle, such as LLDP.',
  purged: 'Data that was queued in a socket when it was closed.',
  configured: 'A reason listed in the option `noLoss`.',
  unclassified:
    'The rule does not know the reason or cannot decide. Kernels since 5.17 should have almost none of these; on older kernels some of them are losses.',
};

const discard = (name: keyof typeof discardClass) => lossRule.class + discardClass[name];

/**
 * Rules for two kinds of reasons: those for which it depends on the packet whether it counts as lost
 * (src/bpf/common/loss.bpf.h), and those that never mean a loss. All other reasons with an explanation are deliberate
 * drops or exhausted resources, which always mean a loss.
 */
const RULES: Readonly<Record<string, number>> = {
  NOT_SPECIFIED: lossRule.no_reason,
  NO_SOCKET: lossRule.request,
  IP_NOPROTO: lossRule.request,
  TCP_FLAGS: lossRule.request,
  TCP_ZEROWINDOW: lossRule.window,
  TCP_RFC7323_PAWS: lossRule.old,
  TCP_RFC7323_TW_PAWS: lossRule.old,
  DEV_READY: lossRule.unicast,
  INVALID_PROTO: lossRule.unicast,
  IPV6DISABLED: lossRule.unicast,
  IP_INADDRERRORS: lossRule.unicast,
  IP_INNOROUTES: lossRule.unicast,
  IP_INVALID_DEST: lossRule.unicast,
  IP_INVALID_SOURCE: lossRule.unicast,
  IP_LOCAL_SOURCE: lossRule.unicast,
  IP_OUTNOROUTES: lossRule.unicast,
  LOCAL_MAC: lossRule.unicast,
  NO_TX_TARGET: lossRule.unicast,
  BRIDGE_INGRESS_STP_STATE: lossRule.bridge,
  QDISC_DROP: lossRule.qdisc,
  QUEUE_PURGE: lossRule.queue,
  SOCKET_CLOSE: lossRule.queue,
  TCP_ABORT_ON_DATA: discard('answered_by_reset'),
  CONSUMED: discard('control'),
  TCP_CLOSE: discard('control'),
  TCP_FASTOPEN: discard('control'),
  // The kernel responds with an acknowledgement to a retransmitted SYN, and also to the SYN of a restarted host, which
  // then retries immediately.
  TCP_INVALID_SYN: discard('control'),
  TCP_RESET: discard('control'),
  TCP_RFC7323_PAWS_ACK: discard('control'),
  DUP_FRAG: discard('duplicate'),
  TCP_OFOMERGE: discard('duplicate'),
  TCP_OFO_DROP: discard('duplicate'),
  TCP_OLD_ACK: discard('duplicate'),
  TCP_OLD_DATA: discard('duplicate'),
  TCP_OLD_SEQUENCE: discard('duplicate'),
  IPV6_NDISC_NS_OTHERHOST: discard('not_for_us'),
  OTHERHOST: discard('not_for_us'),
  MAC_IEEE_MAC_CONTROL: discard('unhandled_protocol'),
  PTYPE_ABSENT: discard('unhandled_protocol'),
  UNHANDLED_PROTO: discard('unhandled_protocol'),
};

/** Subsystems all of whose reasons are deliberate drops, so that every packet counts as lost. */
const DECIDING_SUBSYSTEMS = ['OPENVSWITCH'];

/**
 * Returns the rule for each reason, by number.
 * @param configured names of reasons that the configuration does not count as losses
 */
export function lossRules(reasons: DropReasons, configured: readonly string[]): Uint8Array {
  const rules = new Uint8Array(dropLimit.reasons);
  const set = (name: string, rule: number) => {
    const reason = reasons.number(name);
    if (reason !== undefined && reason < rules.length) rules[reason] = rule;
  };
  for (const name of reasons.all) set(name, RULES[name] ?? (isDescribed(name) ? lossRule.loss : lossRule.unknown));
  // A kernel that does not support reasons reports reason 0 for each drop.
  if (reasons.number('NOT_SPECIFIED') === undefined) rules[0] = lossRule.no_reason;
  // A kernel without TCP_OLD_SEQUENCE gives this reason for duplicates, keepalives and window probes as well.
  if (reasons.number('TCP_OLD_SEQUENCE') === undefined) set('TCP_INVALID_SEQUENCE', lossRule.sequence);
  for (const name of configured) set(name, discard('configured'));
  return rules;
}

export function subsystemRules(reasons: DropReasons): Uint8Array {
  const rules = new Uint8Array(dropLimit.subsystems);
  for (const name of DECIDING_SUBSYSTEMS) {
    const subsystem = reasons.subsystem(name);
    if (subsystem !== undefined && subsystem < rules.length) rules[subsystem] = lossRule.loss;
  }
  return rules;
}

const RULE_WORDS: Readonly<Record<number, string>> = {
  [lossRule.loss]: 'yes',
  [lossRule.no_reason]: 'depends on the function, the packet and the socket',
  [lossRule.request]: 'for a SYN, a datagram, an echo request or another request to this host only',
  [lossRule.unicast]: 'if sent to one host; otherwise `no_listener_multicast`',
  [lossRule.window]: 'if longer than one byte; otherwise `control`',
  [lossRule.bridge]: 'if sent to one host; otherwise `before_forwarding`',
  [lossRule.old]: 'for a SYN or new data; otherwise `control` or `duplicate`',
  [lossRule.qdisc]:
    'yes; on a device without a carrier only if sent to one host, otherwise `no_listener_multicast` or `control`',
  [lossRule.queue]: 'if dropped from the queue of a device; otherwise `purged`',
};

/** Returns the text for the documentation that explains whether packets with this reason count as lost. */
export function lossWords(name: string): string {
  const rule = RULES[name] ?? lossRule.loss;
  return RULE_WORDS[rule] ?? `no: \`${DISCARD_CLASSES[rule - lossRule.class]}\``;
}
