import { discardClass, dropLimit, lossRule } from '#bpf/generated/packetloss.ts';
import { DESCRIBED_REASONS } from './drop_hints.ts';
import type { DropReasons } from './drop_reasons.ts';

const discard = (name: keyof typeof discardClass) => lossRule.class + discardClass[name];

/**
 * Reasons that do not say by themselves that a packet is lost (src/bpf/common/loss.bpf.h has the rule). Every other one
 * that is described is a decision, or something that ran out: a loss, whatever the packet.
 */
const RULES: Readonly<Record<string, number>> = {
  NOT_SPECIFIED: lossRule.no_reason,
  NO_SOCKET: lossRule.request,
  IP_NOPROTO: lossRule.request,
  TCP_FLAGS: lossRule.request,
  TCP_ZEROWINDOW: lossRule.window,
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
  QUEUE_PURGE: lossRule.queue,
  SOCKET_CLOSE: lossRule.queue,
  TCP_ABORT_ON_DATA: discard('answered_by_reset'),
  CONSUMED: discard('control'),
  TCP_CLOSE: discard('control'),
  TCP_FASTOPEN: discard('control'),
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

/** Subsystems whose reasons are all decisions. */
const DECIDING_SUBSYSTEMS = ['OPENVSWITCH'];

/** @param configured reasons that are no loss by configuration */
export function lossRules(reasons: DropReasons, configured: readonly string[]): Uint8Array {
  const rules = new Uint8Array(dropLimit.reasons);
  const set = (name: string, rule: number) => {
    const reason = reasons.number(name);
    if (reason !== undefined && reason < rules.length) rules[reason] = rule;
  };
  for (const name of DESCRIBED_REASONS) set(name, RULES[name] ?? lossRule.loss);
  // A kernel without reasons gives 0 to each.
  if (reasons.number('NOT_SPECIFIED') === undefined) rules[0] = lossRule.no_reason;
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
