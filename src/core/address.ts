const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/**
 * Formats an IP address that is given as 4 or 16 bytes. IPv4-mapped addresses are formatted as IPv4. IPv6 addresses
 * follow RFC 5952: lower case, with `::` for the longest run of two or more zero groups, or for the first one of
 * several equally long runs.
 */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (MAPPED_PREFIX.every((byte, index) => bytes[index] === byte)) return bytes.subarray(12, 16).join('.');
  const groups: string[] = [];
  for (let at = 0; at < 16; at += 2) groups.push((((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16));
  const { start, length } = longestZeroRun(groups);
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`;
}

function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === '0') end++;
    if (end - start > best.length) best = { start, length: end - start };
    start = Math.max(start, end - 1);
  }
  return best;
}

/** Formats an endpoint as `10.0.0.1:53` or `[::1]:53`, or as the address alone if the port is undefined. */
export function formatEndpoint(bytes: Uint8Array, port: number | undefined): string {
  return joinEndpoint(formatIp(bytes), port);
}

/** Like {@link formatEndpoint}, but for an address that is already formatted. */
export function joinEndpoint(ip: string, port: number | undefined): string {
  if (port === undefined) return ip;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const IPV6 = /^[0-9a-f:]{2,39}(?::(?:\d{1,3}\.){3}\d{1,3})?$/i;
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * Parses an IP address. Returns it in the form that {@link formatIp} returns, or undefined if the text is not an
 * address.
 */
export function parseIp(text: string): string | undefined {
  if (IPV4.test(text)) return text;
  const url = `http://[${text}]`;
  if (!IPV6.test(text) || !URL.canParse(url)) return undefined;
  const ip = new URL(url).hostname.slice(1, -1);
  const [, high, low] = MAPPED.exec(ip) ?? [];
  if (high === undefined || low === undefined) return ip;
  const [first, last] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [first >> 8, first & 255, last >> 8, last & 255].join('.');
}

/** Returns the address of an endpoint such as `10.0.0.1:53` or `[::1]:53`, which may lack the port. */
export function addressOf(endpoint: string): string {
  if (endpoint.startsWith('[')) return endpoint.slice(1, endpoint.indexOf(']'));
  const colon = endpoint.indexOf(':');
  return colon >= 0 && colon === endpoint.lastIndexOf(':') ? endpoint.slice(0, colon) : endpoint;
}

/** Returns the port of an endpoint such as `10.0.0.1:53` or `[::1]:53`; undefined if it has none. */
export function portOf(endpoint: string): number | undefined {
  const end = endpoint.startsWith('[') ? endpoint.indexOf(']') + 1 : addressOf(endpoint).length;
  return endpoint[end] === ':' ? Number(endpoint.slice(end + 1)) : undefined;
}

const BYTES_V6 = 16;
/** Third word of an IPv4-mapped address. */
const MAPPED_WORD = 0xffff;

/**
 * Writes an IP address as four 32-bit words. An IPv4 address is written in its IPv4-mapped form. Returns false if the
 * string is not an address.
 */
export function readIpWords(text: string, into: Uint32Array): boolean {
  const ip = parseIp(text);
  if (ip === undefined) return false;
  if (!ip.includes(':')) {
    const [a = 0, b = 0, c = 0, d = 0] = ip.split('.').map(Number);
    into.set([0, 0, MAPPED_WORD, (a << 24) | (b << 16) | (c << 8) | d]);
    return true;
  }
  const [head = [], tail = []] = ip.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  const groups = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => '0'), ...tail];
  const numbers = groups.map((group) => Number.parseInt(group, 16));
  for (let word = 0; word < into.length; word++) {
    into[word] = ((numbers[2 * word] ?? 0) << 16) | (numbers[2 * word + 1] ?? 0);
  }
  return true;
}

/** Formats an address that {@link readIpWords} has written. */
export function formatIpWords(words: Uint32Array): string {
  const bytes = new DataView(new ArrayBuffer(BYTES_V6));
  for (const [index, word] of words.entries()) bytes.setUint32(4 * index, word);
  return formatIp(new Uint8Array(bytes.buffer));
}
