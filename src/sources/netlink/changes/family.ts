import { formatIp } from '#core/address.ts';
import { bytesOf, length, type Span } from '../message.ts';

export type Family = 'ipv4' | 'ipv6';

/** Formats an IP address; returns undefined if its length does not match the family. */
export function ipOf(span: Span | undefined, family: Family): string | undefined {
  return span === undefined || length(span) !== (family === 'ipv4' ? 4 : 16) ? undefined : formatIp(bytesOf(span));
}
