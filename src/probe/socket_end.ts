import { flowEnd, flowField, flowRole } from '#bpf/generated/common.ts';
import { tcpEndEvent } from '#bpf/generated/tcp_ends.ts';
import { nameOf } from '#bpf/layout.ts';
import type { Counter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { FlowEnd, FlowField, FlowRole } from './flow_row.ts';
import { decodeTuple, type Tuple, tcpStateName } from './scene.ts';

const MICROSECONDS = 1e-6;

/** End of a TCP connection, or of the attempt to establish one. */
export interface SocketEnd extends Tuple {
  readonly timeNs: bigint;
  readonly netns: NetnsId;
  /** ID of the socket's control group, if the namespace is the node's; otherwise 0. */
  readonly cgroup: Counter;
  readonly role: Exclude<FlowRole, 'listener'>;
  /** State before the end, as in the kernel's sources: `SYN_SENT`. */
  readonly state: string;
  readonly end: FlowEnd;
  /** Time from the first SYN to a failed attempt; undefined where the kernel does not know it. */
  readonly connectSeconds: number | undefined;
  /** Smoothed round-trip time, which after the FIN contains the other end's delayed acknowledgement. */
  readonly roundTripSeconds: number | undefined;
  readonly minRoundTripSeconds: number | undefined;
  /** Counts of the socket's whole life. */
  readonly counts: Readonly<Record<FlowField, number>>;
}

function secondsOf(microseconds: number): number | undefined {
  return microseconds === 0 ? undefined : microseconds * MICROSECONDS;
}

/**
 * Decodes a struct tcp_end_event.
 * @param wallNs turns the kernel's time into nanoseconds since the epoch
 * @returns undefined where the record has values that this version does not know
 */
export function decodeSocketEnd(
  view: DataView,
  at: number,
  wallNs: (kernelTime: Counter) => bigint,
): SocketEnd | undefined {
  const role = nameOf(flowRole, tcpEndEvent.role(view, at));
  const end = nameOf(flowEnd, tcpEndEvent.end(view, at));
  if (role === undefined || role === 'listener' || end === undefined) return undefined;
  const counts = Object.entries(flowField).map(([field, index]) => [
    field,
    Number(tcpEndEvent.counts(view, at, index)),
  ]);
  return {
    ...decodeTuple(view, at + tcpEndEvent.offsets.tuple),
    timeNs: wallNs(tcpEndEvent.time(view, at)),
    netns: asNetnsId(tcpEndEvent.netns(view, at)),
    cgroup: tcpEndEvent.cgroup(view, at),
    role,
    state: tcpStateName(tcpEndEvent.state(view, at)),
    end,
    connectSeconds: secondsOf(tcpEndEvent.connect(view, at)),
    roundTripSeconds: secondsOf(tcpEndEvent.roundTrip(view, at)),
    minRoundTripSeconds: secondsOf(tcpEndEvent.roundTripMin(view, at)),
    counts: Object.fromEntries(counts),
  };
}
