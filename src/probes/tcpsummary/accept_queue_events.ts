import type { BpfObject } from 'bpf-napi';
import type { NetnsId } from '#core/netns.ts';
import type { ProbeScope } from '#probe/contract.ts';
import { defineEvents } from '#probe/event.ts';
import { OwnersMap } from '#probe/listed.ts';
import { watchRepeatedly } from '#probe/watch.ts';
import { parseSnmp } from '#sources/procfs/snmp.ts';
import { listenerSource } from '#sources/sockets/listeners.ts';
import type { Sources } from '#sources/sources.ts';
import { AcceptQueueWatch, describeFullQueue, type FullQueue, type ListenCounts } from './accept_queues.ts';

export const ACCEPT_QUEUE_EVENTS = defineEvents({
  accept_queue_full: {
    help: 'The accept queue of a listening socket was full because the application accepts too slowly. Its clients wait for a second or more. Checked every five seconds.',
    severity: 'warning',
    // Events with different numbers are not duplicates, because the numbers would be lost if they were merged.
    equalBy: ['address', 'port', 'refused'],
    fields: {
      address: { type: 'string', help: 'Address that the socket listens on; `0.0.0.0` or `::` for all addresses.' },
      port: { type: 'number', help: 'Port that the socket listens on.' },
      sockets: {
        type: 'number',
        help: 'Number of sockets that refused connections. With SO_REUSEPORT, several sockets can listen on a port.',
      },
      length: {
        type: 'number',
        help: 'Connections waiting to be accepted on the fullest of these sockets.',
      },
      limit: {
        type: 'number',
        help: 'Limit of waiting connections at that socket (backlog of listen(2), at most net.core.somaxconn). One more connection may wait.',
      },
      refused: {
        type: 'number',
        help: 'Dropped segments since the last event, if they requested or completed a connection. A client that retries is counted again.',
      },
      seconds: { type: 'number', help: 'Period in which the segments were counted.' },
      cgroup: {
        type: 'string',
        help: 'ID of the control group (v2) of the process that created the socket, in decimal.',
        optional: true,
      },
    },
  },
});

type AcceptQueueScope = ProbeScope<typeof ACCEPT_QUEUE_EVENTS>;

const LOOK_EVERY_MS = 5_000;
const NANOSECONDS_PER_MS = 1_000_000n;

function publish(scope: AcceptQueueScope, queue: FullQueue): void {
  const { listener, sockets, refused, seconds } = queue;
  const { netns, address, port, length, limit, cgroup } = listener;
  scope.publish('accept_queue_full', {
    timeNs: BigInt(Date.now()) * NANOSECONDS_PER_MS,
    netns,
    protocol: 'tcp',
    fields: { address, port, sockets, length, limit, refused, seconds, ...(cgroup === undefined ? {} : { cgroup }) },
    message: describeFullQueue(queue),
  });
}

/** Checks for full accept queues immediately, and then repeatedly until the scope closes. */
export async function watchAcceptQueues(scope: AcceptQueueScope, sources: Sources): Promise<void> {
  const list = (object: Pick<BpfObject, 'map'>) => new OwnersMap(object, scope.owners);
  const source = listenerSource(sources, list, scope.errors, scope.warn);
  scope.own(await source.use());
  const watch = new AcceptQueueWatch();
  await watchRepeatedly(scope, {
    everyMs: LOOK_EVERY_MS,
    what: 'full accept queues',
    look: async (cycle) => {
      const listeners = await source.read(cycle);
      const places = new Map(sources.netns.snapshot().map((entry) => [entry.id, entry]));
      const countsOf = (id: NetnsId): ListenCounts | undefined => {
        const place = places.get(id);
        const table = place && sources.files.parse(place, 'net/netstat', cycle, parseSnmp)?.get('TcpExt');
        const [overflows, drops] = [table?.get('ListenOverflows'), table?.get('ListenDrops')];
        return overflows === undefined || drops === undefined ? undefined : { overflows, drops };
      };
      const owned = listeners.filter(({ netns }) => places.has(netns));
      const { full, limited } = watch.look(owned, countsOf, performance.now());
      return { found: full, limited };
    },
    publish: (queue) => publish(scope, queue),
  });
}
