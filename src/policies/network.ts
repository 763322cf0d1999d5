import { parseIp, readIpWords } from '#core/address.ts';

const WORDS = 4;
const WORD_BITS = 32;
/** Number of bits that precede the IPv4 address in an IPv4-mapped IPv6 address. */
const MAPPED_BITS = 96;
const BITS_V4 = 32;
const BITS_V6 = 128;

/** An address in the form that {@link contains} uses. */
export interface Address {
  readonly text: string;
  readonly isV6: boolean;
  readonly words: Uint32Array;
}

/** A network in CIDR notation. */
export interface Network {
  readonly isV6: boolean;
  readonly words: Uint32Array;
  readonly masks: Uint32Array;
}

/** Parses an address. Returns undefined if the text is not one. */
export function parseAddress(given: string): Address | undefined {
  const text = parseIp(given);
  if (text === undefined) return undefined;
  const words = new Uint32Array(WORDS);
  readIpWords(text, words);
  return { text, isV6: text.includes(':'), words };
}

/** Parses a network such as `10.0.0.0/16` or `fd00::/48`. Bits after the prefix are ignored. */
export function parseNetwork(cidr: string): Network | undefined {
  const [, base = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(cidr) ?? [];
  const address = parseAddress(base);
  const prefix = Number(length);
  if (address === undefined || prefix > (address.isV6 ? BITS_V6 : BITS_V4)) return undefined;
  const bits = address.isV6 ? prefix : MAPPED_BITS + prefix;
  const masks = new Uint32Array(WORDS);
  for (let word = 0; word < WORDS; word++) {
    const set = Math.min(WORD_BITS, Math.max(0, bits - word * WORD_BITS));
    masks[word] = set === 0 ? 0 : ~0 << (WORD_BITS - set);
  }
  return { isV6: address.isV6, words: address.words.map((value, word) => value & (masks[word] ?? 0)), masks };
}

export function contains({ isV6, words, masks }: Network, address: Address): boolean {
  if (isV6 !== address.isV6) return false;
  for (let word = 0; word < WORDS; word++) {
    if (((address.words[word] ?? 0) & (masks[word] ?? 0)) >>> 0 !== words[word]) return false;
  }
  return true;
}
