import type { Peer } from '#api/events.ts';
import { joinEndpoint } from '#core/address.ts';
import { namesText } from '#core/dns_names.ts';

interface Named {
  readonly dst: string;
  readonly dstPort: number;
  readonly peer?: Peer;
  readonly dnsNames?: readonly string[];
  readonly message: string;
}

/** Returns a record without the names by DNS of its server if the server has another name. */
export function withDnsNames<T extends Named>(record: T): T {
  const { peer, dnsNames, ...rest } = record;
  if (dnsNames === undefined || peer === undefined || (peer.kind === 'external' && peer.name === '')) return record;
  return { ...rest, peer } as unknown as T;
}

/** Returns a record whose sentence has the name by DNS of the server, if it has one. */
export function withNamedServer<T extends Named>(record: T): T {
  const { dst, dstPort, dnsNames, message } = record;
  if (dnsNames === undefined) return record;
  const server = ` to ${joinEndpoint(dst, dstPort)}`;
  return { ...record, message: message.replace(server, () => `${server} (${namesText(dnsNames)})`) };
}
