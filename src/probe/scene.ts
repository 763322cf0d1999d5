import { eventProcess, packetTuple, tcpState } from '#bpf/generated/common.ts';
import { nameOf } from '#bpf/layout.ts';
import { formatEndpoint } from '#core/address.ts';
import { ethertypeName, hasPorts, ipProtocolName } from '#core/protocol_names.ts';
import type { Btf } from '#sources/bpf/btf.ts';

export interface Tuple {
  readonly src?: string;
  readonly dst?: string;
  readonly protocol: string;
}

/** Decodes a struct packet_tuple. */
export function decodeTuple(view: DataView, at: number): Tuple {
  if (packetTuple.family(view, at) === 0) return { protocol: ethertypeName(packetTuple.ethertype(view, at)) };
  const protocol = ipProtocolName(packetTuple.protocol(view, at));
  const port = (number: number) => (hasPorts(protocol) && !isLaterFragment(view, at) ? number : undefined);
  return {
    src: formatEndpoint(packetTuple.source(view, at), port(packetTuple.sourcePort(view, at))),
    dst: formatEndpoint(packetTuple.destination(view, at), port(packetTuple.destinationPort(view, at))),
    protocol,
  };
}

/** Returns whether the packet is a fragment other than the first. Such a fragment has no ports. */
export function isLaterFragment(view: DataView, at: number): boolean {
  return (
    packetTuple.family(view, at) !== 0 &&
    hasPorts(ipProtocolName(packetTuple.protocol(view, at))) &&
    packetTuple.sourcePort(view, at) === 0 &&
    packetTuple.destinationPort(view, at) === 0
  );
}

/** Returns the name of a TCP state as in the kernel source, such as `SYN_SENT`. */
export function tcpStateName(state: number): string {
  return nameOf(tcpState, state)?.toUpperCase() ?? `STATE_${state}`;
}

/** Returns the constant that common/process.bpf.h needs on x86. On arm64, the preemption count is part of the task. */
export function processConstants(btf: Btf): { preempt_count_at?: bigint } {
  const runqueues = btf.perCpuVariable('runqueues');
  const count = btf.perCpuVariable('__preempt_count');
  // From 6.2 to 6.14, the counter was a member of a per-CPU struct.
  const hot = btf.perCpuVariable('pcpu_hot');
  const member = hot === undefined ? undefined : btf.memberBits(hot.type, 'preempt_count');
  const at = count?.offset ?? (hot === undefined || member === undefined ? undefined : hot.offset + member / 8);
  if (runqueues === undefined || at === undefined) return {};
  return { preempt_count_at: BigInt.asUintN(64, BigInt(at - runqueues.offset)) };
}

/** Returns the constant that common/fragment.bpf.h needs. */
export function fragmentConstants(btf: Btf): { timer_bases_at?: bigint } {
  const runqueues = btf.perCpuVariable('runqueues');
  const bases = btf.perCpuVariable('timer_bases');
  if (runqueues === undefined || bases === undefined) return {};
  return { timer_bases_at: BigInt.asUintN(64, BigInt(bases.offset - runqueues.offset)) };
}

const NOT_AN_INTERRUPT =
  'only if the kernel acted on behalf of a process, for example for a packet that it sends, but not for received packets';

/** Event fields that identify the process on whose behalf the kernel acted. */
export const PROCESS_FIELDS = {
  process: {
    type: 'string',
    help: `Name of the thread that the kernel acted for: ${NOT_AN_INTERRUPT}.`,
    optional: true,
  },
  pid: { type: 'number', help: 'Process ID of that thread on the node.', optional: true },
  cgroup: {
    type: 'string',
    help: 'ID of the control group (v2) of that thread, in decimal.',
    optional: true,
  },
} as const;

/** Decodes a struct event_process. */
export function decodeProcess(view: DataView, at: number): { process?: string; pid?: number; cgroup?: string } {
  const pid = eventProcess.pid(view, at);
  if (pid === 0) return {};
  return { process: eventProcess.name(view, at), pid, cgroup: String(eventProcess.cgroup(view, at)) };
}
