import { checkFields, type Fields, firstDoubt } from './fields.ts';
import { PORT_MAX, type PortMatch, PROTOCOLS, type Protocol } from './model.ts';

/** The name of a port contains at least one letter (RFC 6335). */
const HAS_LETTER = /[a-z]/i;

function doubtAbout(reason: string): PortMatch {
  return { kind: 'doubt', reason };
}

/** @param value protocol; TCP if undefined */
function protocolOf(value: unknown): Protocol | undefined {
  return PROTOCOLS.find((protocol) => protocol === (value ?? 'TCP'));
}

function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= PORT_MAX;
}

/** Parses a NetworkPolicyPort (kubernetes/api, networking/v1/types.go). */
export function parsePort(value: unknown, path: string): PortMatch {
  const { fields, doubt } = checkFields(value, ['protocol', 'port', 'endPort'], path);
  if (doubt !== undefined) return doubtAbout(doubt);
  const protocol = protocolOf(fields['protocol']);
  if (protocol === undefined) return doubtAbout(`${path}.protocol`);
  const { port, endPort } = fields as { port?: unknown; endPort?: unknown };
  if (port === undefined && endPort === undefined) return { kind: 'range', protocol, first: 0, last: PORT_MAX };
  if (typeof port === 'string' && HAS_LETTER.test(port) && endPort === undefined) {
    return { kind: 'name', protocol, name: port };
  }
  return rangeOf(protocol, port, endPort ?? port, path);
}

function rangeOf(protocol: Protocol, first: unknown, last: unknown, path: string): PortMatch {
  if (!isPort(first) || !isPort(last) || last < first) return doubtAbout(`${path}, which is malformed`);
  return { kind: 'range', protocol, first, last };
}

/** Parses an AdminNetworkPolicyPort (network-policy-api, apis/v1alpha1). */
export function parseAdminPort(value: unknown, path: string): PortMatch {
  const { fields, doubt } = checkFields(value, ['portNumber', 'portRange', 'namedPort'], path);
  if (doubt !== undefined) return doubtAbout(doubt);
  const [kind, ...more] = Object.keys(fields);
  if (kind === undefined || more.length > 0) return doubtAbout(`${path}, which is malformed`);
  if (kind === 'namedPort') return nameOf(fields['namedPort'], `${path}.namedPort`);
  const isRange = kind === 'portRange';
  const inner = checkFields(
    fields[kind],
    isRange ? ['protocol', 'start', 'end'] : ['protocol', 'port'],
    `${path}.${kind}`,
  );
  const protocol = protocolOf(inner.fields['protocol'] === '' ? undefined : inner.fields['protocol']);
  const reason = firstDoubt(inner.doubt, protocol === undefined ? `${path}.${kind}.protocol` : undefined);
  if (reason !== undefined || protocol === undefined) return doubtAbout(reason ?? path);
  const { port, start = port, end = port } = inner.fields as { port?: unknown; start?: unknown; end?: unknown };
  return rangeOf(protocol, start, end, `${path}.${kind}`);
}

function nameOf(name: unknown, path: string): PortMatch {
  if (typeof name !== 'string' || name === '') return doubtAbout(`${path}, which is malformed`);
  return { kind: 'name', protocol: undefined, name };
}

const PROTOCOL_FIELDS: Readonly<Record<string, Protocol>> = { tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' };

/** Parses a ClusterNetworkPolicyProtocol (network-policy-api, apis/v1alpha2 and v1beta1). */
export function parseProtocol(value: unknown, path: string): PortMatch {
  const { fields, doubt } = checkFields(value, [...Object.keys(PROTOCOL_FIELDS), 'destinationNamedPort'], path);
  if (doubt !== undefined) return doubtAbout(doubt);
  const [kind = '', ...more] = Object.keys(fields);
  if (kind === 'destinationNamedPort') return nameOf(fields[kind], `${path}.${kind}`);
  const protocol = PROTOCOL_FIELDS[kind];
  // The API requires exactly one field. A protocol without any must have a field that this version does not know.
  if (protocol === undefined || more.length > 0) return doubtAbout(`${path}, which is malformed`);
  return destinationPort(
    protocol,
    checkFields(fields[kind], ['destinationPort'], `${path}.${kind}`),
    `${path}.${kind}`,
  );
}

function destinationPort(
  protocol: Protocol,
  given: { fields: Fields; doubt: string | undefined },
  path: string,
): PortMatch {
  const at = `${path}.destinationPort`;
  const { fields, doubt } = checkFields(given.fields['destinationPort'], ['number', 'range'], at);
  const reason = firstDoubt(given.doubt, doubt);
  if (reason !== undefined) return doubtAbout(reason);
  const { number, range } = fields as { number?: unknown; range?: unknown };
  if (range === undefined) return rangeOf(protocol, number, number, at);
  const ends = checkFields(range, ['start', 'end'], `${at}.range`);
  if (ends.doubt !== undefined) return doubtAbout(ends.doubt);
  if (number !== undefined) return doubtAbout(`${at}, which is malformed`);
  return rangeOf(protocol, ends.fields['start'], ends.fields['end'], `${at}.range`);
}
