import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';
import { isLoopback } from './peer.ts';

/** Host of a request: an IP address, or a host name in lower case without a trailing dot. */
export interface Host {
  readonly name: string;
  readonly isAddress: boolean;
  /** Port; empty for the default port of the scheme. */
  readonly port: string;
}

const HOST = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[a-z0-9_.-]+))(?::(?<port>\d{0,5}))?$/i;

/** Scheme and authority of a URL in absolute form (RFC 9112, section 3.2.2). */
const AUTHORITY = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i;

/**
 * Parses a `Host` header or the authority of a URL. Returns undefined if it is malformed (RFC 9110, section 7.2; RFC
 * 3986, section 3.2.2).
 */
export function parseHost(text: string): Host | undefined {
  const { v6, name = '', port = '' } = HOST.exec(text)?.groups ?? {};
  if (v6 !== undefined) return isIPv6(v6) ? { name: v6.toLowerCase(), isAddress: true, port } : undefined;
  const plain = name.toLowerCase().replace(/\.$/, '');
  if (plain === '') return undefined;
  return { name: plain, isAddress: isIPv4(plain), port };
}

/**
 * Returns the host that the request is for; undefined if an HTTP/1.0 client names none.
 * @throws if the host is malformed or ambiguous
 */
export function hostOf({
  url = '',
  headersDistinct,
}: Pick<IncomingMessage, 'url' | 'headersDistinct'>): Host | undefined {
  const given = headersDistinct['host'] ?? [];
  // A URL in absolute form takes precedence over the header (RFC 9112, section 3.2.2).
  const inUrl = AUTHORITY.exec(url)?.[1];
  if (given.length > 1) throw new Error('the request has more than one Host header');
  const [text = inUrl] = inUrl === undefined ? given : [inUrl];
  if (text === undefined || text === '') return undefined;
  const host = parseHost(text);
  if (host === undefined) throw new Error('the Host is neither a name nor an address');
  return host;
}

/**
 * Returns the undecoded path of the request, without the scheme and host of an absolute URL, the query and the
 * fragment.
 */
export function pathOf({ url = '' }: Pick<IncomingMessage, 'url'>): string {
  return url.replace(AUTHORITY, '').replace(/[?#].*/s, '');
}

/**
 * Whether the host can only be this machine. This protects against DNS rebinding, because the owner of any other name
 * could make it resolve to this machine, and browsers would let a page from that name read the response.
 * @param isUnix whether the request came over a Unix socket, where clients send an arbitrary host; a host without a dot
 * is not a public name
 */
export function isLocalHost(host: Host | undefined, isUnix: boolean): boolean {
  if (host === undefined || host.name === 'localhost') return true;
  return host.isAddress ? isLoopback(host.name) : isUnix && !host.name.includes('.');
}

const HTTP_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/**
 * Returns evidence that a page of another site sent the request; undefined if there is none. Following a link is
 * allowed, because the other site cannot read the response (Fetch Metadata, W3C; RFC 6454).
 */
export function otherSite(headers: IncomingHttpHeaders, host: Host | undefined): string | undefined {
  const { origin } = headers;
  if (origin !== undefined && !isSameOrigin(origin, host)) return 'Origin differs from the Host';
  const site = headers['sec-fetch-site'];
  if (site === undefined || site === 'same-origin' || site === 'none') return undefined;
  const isLink = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  return isLink ? undefined : `Sec-Fetch-Site is neither same-origin nor none`;
}

function isSameOrigin(origin: string, host: Host | undefined): boolean {
  const [, scheme = '', authority = ''] = /^(https?:)\/\/(.*)$/i.exec(origin) ?? [];
  const own = parseHost(authority);
  if (own === undefined || host === undefined) return false;
  const standard = HTTP_PORTS[scheme.toLowerCase()] ?? '';
  return own.name === host.name && (own.port || standard) === (host.port || standard);
}

/** Headers that proxies add to the requests that they forward. */
const FORWARDED = new Set([
  'forwarded',
  'via',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-original-forwarded-for',
  'x-envoy-external-address',
  'true-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
]);

/** Returns the name of a header that shows that a proxy forwarded the request; undefined if there is none. */
export function forwardedBy(headers: IncomingHttpHeaders): string | undefined {
  return Object.keys(headers).find((name) => FORWARDED.has(name) || name.startsWith('x-forwarded-'));
}
