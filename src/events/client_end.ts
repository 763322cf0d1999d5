import { portOf } from '#core/address.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';

/** Which end of a connection is the client; `either`: one of them, but nothing tells which. */
export type ClientEnd = 'src' | 'dst' | 'either';

/** No kernel gives a port below it to a client by itself (net.ipv4.ip_unprivileged_port_start). */
const UNPRIVILEGED = 1_024;

/**
 * Which port of an event may be another one the next time, because a kernel chose it for a client. A program that chose
 * both ports itself has no such end: that is `undefined`, as without ports.
 * @param known what the event itself tells
 * @param ephemeral what this node's kernel chooses from; others, and Pods, may choose from other ports
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
