import { countResent, grew } from './arrived.ts';
import { placeOf } from './drops.ts';
import type { Evidence } from './evidence.ts';
import { type Rule, verdict } from './rule.ts';

/** Retransmissions and events of the server that name its accept queue. */
export const acceptQueue: Rule = ({ trial, events }) => {
  const waiting = events.filter(({ type, waitsFor }) => type === 'tcp_retransmit' && waitsFor === 'accept_queue');
  // The event also names sockets whose segments were dropped for other reasons while another queue was full.
  const full = events.filter(
    ({ type, length, limit }) =>
      trial.stage === 'connect' && type === 'accept_queue_full' && Number(length) >= Number(limit),
  );
  const [first] = [...waiting, ...full];
  return first && verdict('seen', 'accept_queue', `the accept queue of ${placeOf(first)} is full`);
};

/** SYNs that listening sockets of the server have dropped. The kernel reports none of them as an event. */
export const listenDrops: Rule = (evidence) => {
  const { trial, listening } = evidence;
  if (trial.errno !== 'ETIMEDOUT' || trial.stage !== 'connect' || trial.protocol !== 'tcp') return undefined;
  const overflows = grew(evidence, 'server', 'TcpExt.ListenOverflows');
  const noRoutes = grew(evidence, 'server', 'Ip.OutNoRoutes', 'Ip6.OutNoRoutes');
  const all = grew(evidence, 'server', 'TcpExt.ListenDrops');
  // Without the drops of the port, those of all ports have to account for each SYN of the client.
  const syns = 1 + countResent(evidence, 'client');
  const drops = listening?.drops ?? (all >= syns ? all : 0);
  if (drops === 0) return undefined;
  const counted = `ListenDrops +${drops}`;
  if (overflows === 0 && noRoutes >= Math.min(syns, drops)) {
    return verdict(
      'inferred',
      'no_way_back',
      `the server has no route for its responses (OutNoRoutes +${noRoutes}, ${counted})`,
    );
  }
  if (listening === undefined) return undefined;
  if (listening.isFull || (overflows > 0 && overflows === all)) {
    return verdict(
      'inferred',
      'accept_queue',
      `the accept queue of port ${listening.port} of the server is full (${counted}, ListenOverflows +${overflows})`,
    );
  }
  // Drops for other reasons may be those of other ports, but not all of them if they are fewer.
  const others = overflows + noRoutes;
  if (others > 0 && drops < others + syns) return undefined;
  return verdict(
    'inferred',
    'syn_queue',
    `port ${listening.port} of the server drops the SYNs before its accept queue is full, because there are too many incomplete connections (${counted})`,
  );
};

/** Packets of a server of UDP, or of echo requests, that have no route back. The client has sent one. */
export const noWayBack: Rule = (evidence) => {
  const { trial } = evidence;
  if (trial.errno !== 'ETIMEDOUT' || trial.protocol === 'tcp') return undefined;
  const noRoutes = grew(evidence, 'server', 'Ip.OutNoRoutes', 'Ip6.OutNoRoutes');
  return noRoutes === 1
    ? verdict('inferred', 'no_way_back', 'the server has no route for its response (OutNoRoutes +1)')
    : undefined;
};

/** Counters of the server's namespace that may have to do with the trial, but count the packets of all clients and ports. */
export function sharedCounters(evidence: Evidence): string {
  const names = ['TcpExt.ListenOverflows', 'TcpExt.ListenDrops', 'Ip.OutNoRoutes', 'TcpExt.IPReversePathFilter'];
  const grown = names.flatMap((name) => {
    const count = grew(evidence, 'server', name);
    return count > 0 ? [`${name} +${count}`] : [];
  });
  return grown.length === 0 ? '' : `; counters of all ports of the server: ${grown.join(', ')}`;
}
