import { addressOf, portOf } from '#core/address.ts';
import type { Trial, WitnessEvent } from './evidence.ts';

const DNS = 53;

/** Fields with the addresses of a connection: those of the packet, and those before and after translation. */
const ENDS = ['src', 'dst', 'connectionClient', 'connectionServer', 'connectionService', 'connectionSource'] as const;

/** Whether an event is about the packets of the trial, including those of its DNS questions. */
export function belongs(event: WitnessEvent, trial: Trial): boolean {
  return isOfConnection(event, trial) || isOfName(event, trial) || isOfDatagrams(event, trial);
}

function endsOf(event: WitnessEvent): string[] {
  return ENDS.flatMap((field) => {
    const end = event[field];
    return typeof end === 'string' ? [end] : [];
  });
}

/** Whether the event has the address and port of the client, also if it stands for several connections. */
function isOfConnection(event: WitnessEvent, { local, localIp }: Trial): boolean {
  if (local === undefined || localIp === undefined) return false;
  const ends = endsOf(event);
  if (ends.includes(local)) return true;
  return event.ports?.includes(portOf(local) ?? 0) === true && ends.some((end) => addressOf(end) === localIp);
}

function isOfName(event: WitnessEvent, { names, localIp }: Trial): boolean {
  if (names.length === 0 || localIp === undefined) return false;
  const ends = endsOf(event);
  return (
    ends.some((end) => addressOf(end) === localIp) &&
    ends.some((end) => portOf(end) === DNS && names.some(({ server }) => server === addressOf(end)))
  );
}

/** Whether the event is about ICMP between both ends, or about a neighbour that is the server. */
function isOfDatagrams(event: WitnessEvent, { ip, localIp, protocol }: Trial): boolean {
  if (ip === undefined || localIp === undefined) return false;
  const addresses = endsOf(event).map(addressOf);
  if (event.type === 'neighbour_failed') return addresses.includes(ip);
  const isIcmp = event.protocol === 'icmp' || event.protocol === 'icmpv6' || event.protocol === 'ipv6-icmp';
  if (!isIcmp) return false;
  // An echo has both addresses. An ICMP error about the connection comes from a router, to one of the ends.
  if (protocol === 'icmp') return addresses.includes(ip) && addresses.includes(localIp);
  return addresses.includes(ip) || addresses.includes(localIp);
}

/**
 * Whether an event is a drop of a request for the address of the next hop (ARP, or a neighbour solicitation) on a device
 * on which packets of the trial were dropped because the next hop did not answer.
 */
export function isOfNextHop(event: WitnessEvent, ofTrial: readonly WitnessEvent[]): boolean {
  const { type, protocol, node, namespace, pod, dst = '' } = event;
  const isRequest = protocol === 'arp' || (/icmp/.test(protocol ?? '') && addressOf(dst).startsWith('ff02::1:ff'));
  return (
    type === 'packet_drop' &&
    isRequest &&
    ofTrial.some(
      (other) =>
        /^NEIGH_/.test(String(other['reason'])) &&
        [other.node, other.namespace, other.pod, other['device']].join() ===
          [node, namespace, pod, event['device']].join(),
    )
  );
}
