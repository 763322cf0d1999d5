import { createHash } from 'node:crypto';
import { endsOf } from '#api/event_ends.ts';
import type { EventRecord } from '#api/events.ts';
import { addressOf, portOf } from '#core/address.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';
import { clientEndOf } from './client_end.ts';

/** Length of an ID in characters. 48 bits make it unlikely that two of the connections of a cluster share an ID. */
const ID_LENGTH = 8;
/** Maximum number of IDs that are kept, so that repeated events do not need another hash. */
const KEPT_MAX = 512;

/** The two ends that all connections of a client to a port of a server share. */
export interface Connection {
  readonly protocol: string;
  /** Address of the client, as the server sees it. */
  readonly client: string;
  /** Address of the server. */
  readonly server: string;
  readonly port: number;
}

/**
 * Returns the connection of an event, with the addresses after translation if the event has them. Returns undefined if
 * the event has no ports. If it does not show which end is the client, the end with the lower port is the server, so
 * that the agents of both nodes come to the same result.
 * @param known the client's end, if the type of the event names it
 * @param ephemeral ports that this node's kernel assigns
 */
export function connectionOf(
  event: EventRecord,
  known: 'src' | 'dst' | undefined,
  ephemeral: PortRange,
): Connection | undefined {
  return trackedConnection(event) ?? connectionOfEnds(event, known, ephemeral);
}

/** Returns the connection according to connection tracking, which events about dropped packets contain. */
function trackedConnection(event: EventRecord): Connection | undefined {
  const client = event['connectionSource'] ?? event['connectionClient'];
  const server = event['connectionServer'];
  const protocol = event['connectionProtocol'] ?? event.protocol;
  if (typeof client !== 'string' || typeof server !== 'string' || typeof protocol !== 'string') return undefined;
  const port = portOf(server);
  return port === undefined ? undefined : { protocol, client: addressOf(client), server: addressOf(server), port };
}

function connectionOfEnds(
  event: EventRecord,
  known: 'src' | 'dst' | undefined,
  ephemeral: PortRange,
): Connection | undefined {
  const ends = endsOf(event);
  const { src, dst, protocol } = ends;
  if (src === undefined || dst === undefined || protocol === undefined) return undefined;
  const [source, destination] = [portOf(src), portOf(dst)];
  if (source === undefined || destination === undefined) return undefined;
  const decided = clientEndOf(ends, known, ephemeral);
  const isForth =
    decided === 'src' || (decided !== 'dst' && (destination < source || (destination === source && dst < src)));
  const [client, server, port] = isForth ? [src, dst, destination] : [dst, src, source];
  return { protocol, client: addressOf(client), server: addressOf(server), port };
}

/** Computes the IDs of connections. The agents of both nodes compute the same ID without asking each other. */
export class ConnectionIds {
  readonly #kept = new Map<string, string>();

  of({ protocol, client, server, port }: Connection): string {
    const text = `${protocol} ${client} ${server} ${port}`;
    const kept = this.#kept.get(text);
    if (kept !== undefined) return kept;
    const id = createHash('sha256').update(text).digest('base64url').slice(0, ID_LENGTH);
    if (this.#kept.size >= KEPT_MAX) this.#kept.clear();
    this.#kept.set(text, id);
    return id;
  }
}
