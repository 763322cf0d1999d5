import { portOf } from '#core/address.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';

/** The end of a connection that is the client; `either`: one of them is, but it is unknown which. */
export type ClientEnd = 'src' | 'dst' | 'either';

/** No kernel assigns a port below this one to a client by itself (net.ipv4.ip_unprivileged_port_start). */
const UNPRIVILEGED = 1_024;

/**
 * Returns the end of an event whose port may differ the next time, because a kernel chose it for a client. Where
 * programs chose both ports themselves there is no such end: the result is `undefined`, as without ports.
 * @param known what the event itself says
 * @param ephemeral range that this node's kernel chooses from; other nodes, and Pods, may use another range
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
