import { PORT_MAX, type Protocol } from '#policies/model.ts';
import { type Address, parseAddress } from '#policies/network.ts';

/** A source or destination as given on the command line. */
export type GivenEnd =
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'address'; readonly address: Address };

export interface GivenTarget {
  readonly end: GivenEnd;
  readonly port: number;
  readonly protocol: Protocol;
}

const NAME_MAX = 253;
/** Names of objects (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/). */
const NAME = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/;
const TARGET = /^(.+):(\d{1,5})(?:\/(tcp|udp|sctp))?$/i;
const PROTOCOL_NAMES: Readonly<Record<string, Protocol>> = { tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' };

function isName(text: string | undefined): text is string {
  return text !== undefined && text.length <= NAME_MAX && NAME.test(text);
}

/**
 * Parses `NAMESPACE/POD`.
 * @param option name of the option, for messages
 * @throws if the text is malformed
 */
export function parsePod(text: string, option: string): { readonly namespace: string; readonly name: string } {
  const [namespace, name, ...more] = text.split('/');
  if (more.length > 0 || !isName(namespace) || !isName(name)) {
    throw new Error(`${option} ${text}: give NAMESPACE/POD, like shop/web-0`);
  }
  return { namespace, name };
}

/** Parses `NAMESPACE/POD` or an address. @throws if the text is neither */
export function parseEnd(text: string, option: string): GivenEnd {
  const address = parseAddress(text.replace(/^\[(.*)\]$/, '$1'));
  if (address !== undefined) return { kind: 'address', address };
  if (!text.includes('/')) throw new Error(`${option} ${text}: give NAMESPACE/POD, like shop/web-0, or an address`);
  return { kind: 'pod', ...parsePod(text, option) };
}

/**
 * Parses `NAMESPACE/POD:PORT` or `ADDRESS:PORT`, optionally followed by `/tcp`, `/udp` or `/sctp`.
 * @throws if the text is malformed
 */
export function parseTarget(text: string, option: string): GivenTarget {
  const [, end = '', digits = '', suffix = 'tcp'] = TARGET.exec(text) ?? [];
  const port = Number(digits);
  const isBareV6 = parseAddress(text) !== undefined || (!end.startsWith('[') && parseAddress(end)?.isV6 === true);
  if (end === '' || port < 1 || port > PORT_MAX || isBareV6) {
    throw new Error(
      `${option} ${text}: give NAMESPACE/POD:PORT, like shop/web-0:8080 or shop/dns-0:53/udp, or [ADDRESS]:PORT`,
    );
  }
  return { end: parseEnd(end, option), port, protocol: PROTOCOL_NAMES[suffix.toLowerCase()] ?? 'TCP' };
}
