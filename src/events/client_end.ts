import { portOf } from '#core/address.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';

/** The end of a connection that is the client; `either`: unknown which of the two. */
export type ClientEnd = 'src' | 'dst' | 'either';

/** Default of net.ipv4.ip_unprivileged_port_start. The kernel never assigns a lower port to a client by itself. */
const UNPRIVILEGED = 1_024;

/**
 * Returns the end whose port a kernel assigned, which therefore may differ in the next event. Returns undefined if
 * programs chose both ports, or if the event has no ports.
 * @param known the client, if the event states it
 * @param ephemeral ports that this node's kernel assigns; other nodes and Pods may have another range
 */
export function clientEndOf(
  { src, dst }: { readonly src?: string; readonly dst?: string },
  known: 'src' | 'dst' | undefined,
  ephemeral: PortRange,
): ClientEnd | undefined {
  const source = src === undefined ? undefined : portOf(src);
  const destination = dst === undefined ? undefined : portOf(dst);
  if (source === undefined || destination === undefined) return undefined;
  if (known !== undefined) return known;
  const isEphemeral = (port: number) => port >= ephemeral.first && port <= ephemeral.last;
  if (isEphemeral(source) !== isEphemeral(destination)) return isEphemeral(source) ? 'src' : 'dst';
  const isFree = (port: number) => port >= UNPRIVILEGED;
  if (isFree(source) !== isFree(destination)) return isFree(source) ? 'src' : 'dst';
  return isFree(source) ? 'either' : undefined;
}
