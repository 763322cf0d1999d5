import { formatIp } from '#core/address.ts';
import { bytesOf, length, type Span } from '../message.ts';

export type Family = 'ipv4' | 'ipv6';

/** Returns undefined if the length is wrong for an address of the family. */
export function ipOf(span: Span | undefined, family: Family): string | undefined {
  return span === undefined || length(span) !== (family === 'ipv4' ? 4 : 16) ? undefined : formatIp(bytesOf(span));
}
