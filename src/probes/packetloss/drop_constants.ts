import { fragmentConstants, processConstants } from '#probe/scene.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import type { DropReasons } from './drop_reasons.ts';
import { lossRules, subsystemRules } from './loss_rules.ts';

/** Number of arguments of skb:kfree_skb since 6.11, which added the receiving socket. */
export const RECEIVER_ARGUMENTS = 4;

/**
 * Returns the constants and settings of common/drop.bpf.h, which decide which packets are lost.
 * @param noLoss additional reasons that are not losses
 */
export function dropConstants(bpf: BpfSource, reasons: DropReasons, noLoss: readonly string[]) {
  const btf = bpf.btf();
  const notSpecified = reasons.number('NOT_SPECIFIED');
  return {
    ...processConstants(btf),
    ...fragmentConstants(btf),
    not_specified: notSpecified ?? 0,
    has_reasons: notSpecified !== undefined,
    // These reasons were added together with the one for echo requests (6.3).
    frees_answered_echo: reasons.number('IPV6_NDISC_FRAG') === undefined,
    waits_for_udp: btf.tracepointArguments('kfree_skb') !== RECEIVER_ARGUMENTS,
    receive_buffer: reasons.number('SOCKET_RCVBUFF') ?? 0,
    protocol_memory: reasons.number('PROTO_MEM') ?? 0,
    rules: lossRules(reasons, noLoss),
    subsystem_rules: subsystemRules(reasons),
  };
}
