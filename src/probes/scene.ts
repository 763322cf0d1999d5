import { formatEndpoint } from '../address.ts';
import { packetTuple } from '../bpf/generated/netiftxlatency.ts';
import { ethertypeName, hasPorts, ipProtocolName } from '../protocol.ts';

export interface Tuple {
  readonly src?: string;
  readonly dst?: string;
  readonly protocol: string;
}

/** A struct packet_tuple. */
export function decodeTuple(view: DataView, at: number): Tuple {
  if (packetTuple.family(view, at) === 0) return { protocol: ethertypeName(packetTuple.ethertype(view, at)) };
  const protocol = ipProtocolName(packetTuple.protocol(view, at));
  const port = (number: number) => (hasPorts(protocol) ? number : undefined);
  return {
    src: formatEndpoint(packetTuple.source(view, at), port(packetTuple.sourcePort(view, at))),
    dst: formatEndpoint(packetTuple.destination(view, at), port(packetTuple.destinationPort(view, at))),
    protocol,
  };
}
