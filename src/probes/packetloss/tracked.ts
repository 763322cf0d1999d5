import { trackedConnection, trackedSender } from '#bpf/generated/packetloss.ts';
import { nameOf } from '#bpf/layout.ts';
import { decodeTuple } from '#probe/scene.ts';

/** Event fields about the connection of a packet, if the network namespace tracks connections. */
export const TRACKED_FIELDS = {
  sentBy: {
    type: 'string',
    help: 'End that sent the packet, `client` or `server`, according to connection tracking.',
    optional: true,
  },
  connectionClient: {
    type: 'string',
    private: 'peers',
    help: 'Client of the connection, before its address is translated, according to connection tracking.',
    optional: true,
  },
  connectionServer: {
    type: 'string',
    private: 'peers',
    help: 'Server of the connection, after its address was translated, according to connection tracking.',
    optional: true,
  },
  connectionService: {
    type: 'string',
    private: 'peers',
    help: 'Address that the client connects to, if it is translated to that of the server.',
    optional: true,
  },
  connectionSource: {
    type: 'string',
    private: 'peers',
    help: 'Address that the server sees as that of the client, if it is a translation (masquerading).',
    optional: true,
  },
  connectionProtocol: {
    type: 'string',
    help: 'Protocol of the connection, if the packet is an ICMP error about it.',
    optional: true,
  },
} as const;

export type TrackedFields = { readonly [Name in keyof typeof TRACKED_FIELDS]?: string };

/**
 * Decodes a struct tracked_connection.
 * @param protocol protocol of the packet
 */
export function decodeTracked(view: DataView, at: number, protocol: string): TrackedFields {
  const sender = nameOf(trackedSender, trackedConnection.sender(view, at));
  if (sender !== 'client' && sender !== 'server') return {};
  const original = decodeTuple(view, at + trackedConnection.offsets.original);
  const reply = decodeTuple(view, at + trackedConnection.offsets.reply);
  if (original.src === undefined || original.dst === undefined) return {};
  if (reply.src === undefined || reply.dst === undefined) return {};
  return {
    sentBy: sender,
    connectionClient: original.src,
    connectionServer: reply.src,
    ...(original.dst === reply.src ? {} : { connectionService: original.dst }),
    ...(original.src === reply.dst ? {} : { connectionSource: reply.dst }),
    ...(original.protocol === protocol ? {} : { connectionProtocol: original.protocol }),
  };
}
