import { flowEnd, flowField, flowRole } from '#bpf/generated/common.ts';
import { tcpEndEvent } from '#bpf/generated/tcp_ends.ts';
import { nameOf } from '#bpf/layout.ts';
import type { Counter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { FlowEnd, FlowField, FlowRole } from './flow_row.ts';
import { decodeTuple, type Tuple, tcpStateName } from './scene.ts';

const MICROSECONDS = 1e-6;

/** End of a TCP connection, or of an attempt to establish one. */
export interface SocketEnd extends Tuple {
  readonly timeNs: bigint;
  /** When the connection was established, in nanoseconds since the epoch; undefined if the time was not recorded. */
  readonly startedNs: bigint | undefined;
  readonly netns: NetnsId;
  /** Cgroup ID of the socket if it is in the node's namespace; otherwise 0. */
  readonly cgroup: Counter;
  readonly role: Exclude<FlowRole, 'listener'>;
  /** Name of the state just before the end as in the kernel source, such as `SYN_SENT`. */
  readonly state: string;
  readonly end: FlowEnd;
  /** Seconds from the first SYN until the attempt failed; undefined if unknown. */
  readonly connectSeconds: number | undefined;
  /** Smoothed round-trip time in seconds before the FIN was sent; undefined if it was not measured. */
  readonly roundTripSeconds: number | undefined;
  readonly minRoundTripSeconds: number | undefined;
  /** Counts over the lifetime of the socket. */
  readonly counts: Readonly<Record<FlowField, number>>;
}

function secondsOf(microseconds: number): number | undefined {
  return microseconds === 0 ? undefined : microseconds * MICROSECONDS;
}

/**
 * Decodes a struct tcp_end_event.
 * @param wallNs converts a kernel time to nanoseconds since the epoch
 * @returns undefined if the record contains values that this version does not know
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
  const started = tcpEndEvent.started(view, at);
  return {
    ...decodeTuple(view, at + tcpEndEvent.offsets.tuple),
    timeNs: wallNs(tcpEndEvent.time(view, at)),
    startedNs: started === 0 ? undefined : wallNs(started),
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
