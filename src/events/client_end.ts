import { portOf } from '#core/address.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';

/** The client's end of a connection; `either` if unknown. */
export type ClientEnd = 'src' | 'dst' | 'either';

/** Default of net.ipv4.ip_unprivileged_port_start. The kernel never automatically assigns a lower port to a client. */
const UNPRIVILEGED = 1_024;

/**
 * Returns the end whose port was assigned by a kernel, and may therefore differ in the next event. Returns undefined if
 * programs chose both ports, or if the event has no ports.
 * @param known the client's end, if the event names it
 * @param ephemeral ports that this node's kernel assigns; other nodes and Pods may use a different range
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
