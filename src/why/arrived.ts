import { addressOf } from '#core/address.ts';
import { countOf, type Drops, leastOf, placeOf } from './drops.ts';
import type { Evidence, Role, WitnessEvent } from './evidence.ts';

export const ENDS = ['client', 'server'] as const;
type End = (typeof ENDS)[number];

/** States in which TCP retransmits a SYN or SYN-ACK instead of data. */
const HANDSHAKE = new Set<unknown>(['SYN_SENT', 'SYN_RECV', 'NEW_SYN_RECV']);

/** Returns the end that sent the packet of an event, or retransmitted it. */
export function senderOf(event: WitnessEvent, { trial }: Evidence): End {
  if (event['sentBy'] === 'server') return 'server';
  return event.src !== undefined && addressOf(event.src) === trial.ip ? 'server' : 'client';
}

/** Sum of the growth of a counter in the namespaces with a role. */
export function grew({ growth }: Evidence, role: Role, ...names: readonly string[]): number {
  const ofRole = growth.filter((one) => one.role === role);
  return ofRole.reduce((sum, { grown }) => sum + names.reduce((part, name) => part + (grown[name] ?? 0), 0), 0);
}

/** Whether the counters of an end were read. */
export function isObserved({ growth }: Evidence, end: End): boolean {
  return growth.some(({ role }) => role === end);
}

/** Number of times that an end has retransmitted the SYN or SYN-ACK, as far as it is known. */
export function countResent(evidence: Evidence, end: End): number {
  const resent = evidence.events.filter(
    (event) => event.type === 'tcp_retransmit' && HANDSHAKE.has(event['state']) && senderOf(event, evidence) === end,
  );
  return countOf(resent);
}

/** Whether an end has retransmitted data. Its counters cover all of its connections. */
export function hasResent(evidence: Evidence, end: End): boolean {
  const isResent = (event: WitnessEvent) =>
    event.type === 'tcp_retransmit' && !HANDSHAKE.has(event['state']) && senderOf(event, evidence) === end;
  if (evidence.events.some(isResent)) return true;
  return grew(evidence, end, 'Tcp.RetransSegs') > grew(evidence, end, 'TcpExt.TCPSynRetrans');
}

/**
 * Leaves out drops that cannot be the cause, because the packets arrived after all: those of the handshake of a
 * connection that was established, and copies that a router has made. TCP retransmits data that has not arrived.
 */
export function withoutArrived(events: readonly WitnessEvent[], evidence: Evidence): readonly WitnessEvent[] {
  const { protocol, stage } = evidence.trial;
  if (protocol !== 'tcp' || stage === 'connect') return events;
  return events.filter((event) => {
    const sender = senderOf(event, evidence);
    return event.type !== 'packet_drop' || !isObserved(evidence, sender) || hasResent(evidence, sender);
  });
}

/** Whether it is certain that the dropped packets did not arrive, and not only copies of them. */
export function areLost({ events, isCertain }: Drops, evidence: Evidence): boolean {
  const { protocol, stage } = evidence.trial;
  const atEnd = (event: WitnessEvent) =>
    evidence.growth.some(({ place, role }) => role !== 'other' && place === placeOf(event));
  if (protocol === 'icmp' && isObserved(evidence, 'client') && leastOf(events) > countEchoes(evidence)) return false;
  if (!isCertain || events.some(atEnd)) return isCertain;
  if (protocol === 'udp') return grew(evidence, 'server', 'Udp.InDatagrams', 'Udp6.InDatagrams') === 0;
  if (protocol !== 'tcp' || stage === 'connect') return true;
  return events.every((event) => hasResent(evidence, senderOf(event, evidence)));
}

/**
 * Number of echo requests that the client has sent. Echoes have no ports, so drops of another program's echoes between
 * the same addresses look like those of the trial.
 */
function countEchoes(evidence: Evidence): number {
  return grew(evidence, 'client', 'IcmpMsg.OutType8', 'Icmp6.OutEchos');
}
