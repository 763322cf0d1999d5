import { parseIp } from '#core/address.ts';
import { parseDuration } from '#core/duration.ts';
import { type AgentAddress, readFormat } from '../agent_client.ts';
import type { Target } from '../capture/place.ts';
import { AGENT_OPTIONS, parseOptions } from '../options.ts';

const NANOSECONDS_PER_MS = 1e6;
const TIMEOUT_MS = { min: 100, max: 60_000 } as const;
const PORT_MAX = 65_535;
const SIZE_MAX = 16 * 1024 ** 2;
/** Maximum payload of a datagram of UDP or ICMP over IPv4. */
const DATAGRAM_MAX = 65_507;
const HOST_MAX = 253;
const PATH_MAX = 4_096;
const PEERS_MAX = 32;

export type ReachTarget =
  | { readonly kind: 'host'; readonly host: string; readonly port: number | undefined }
  /** A Service or a Pod. */
  | { readonly kind: 'object'; readonly namespace: string; readonly name: string; readonly port: number | undefined };

export interface ReachArguments {
  readonly from: Target;
  readonly to: ReachTarget;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  readonly tls: boolean;
  readonly httpPath: string | undefined;
  readonly size: number | undefined;
  /** Whether to name the rule of a firewall, for which a second attempt is traced. */
  readonly rules: boolean;
  readonly timeoutMs: number;
  readonly agent: AgentAddress;
  /** Agents of other nodes. */
  readonly peers: readonly AgentAddress[];
  readonly output: 'json' | 'text';
}

/** Parses the arguments of `netsonde reach`. @throws if they are invalid or contradict each other */
export function parseReach(args: readonly string[]): ReachArguments {
  const values = parseOptions(args, {
    ...AGENT_OPTIONS,
    from: { type: 'string' },
    netns: { type: 'string' },
    pid: { type: 'string' },
    to: { type: 'string' },
    udp: { type: 'boolean', default: false },
    icmp: { type: 'boolean', default: false },
    tls: { type: 'boolean', default: false },
    http: { type: 'string' },
    size: { type: 'string' },
    rules: { type: 'boolean', default: false },
    timeout: { type: 'string', default: '4s' },
    'peer-url': { type: 'string', multiple: true, default: [] },
    output: { type: 'string', short: 'o', default: 'text' },
  });
  const { tls, http, to, size } = values;
  if (to === undefined) throw new Error('reach: give --to, like web:8080, shop/web or 10.0.0.1:53');
  const protocol = protocolOf(values);
  const peers = values['peer-url'];
  if (peers.length > PEERS_MAX) throw new Error(`--peer-url: give at most ${PEERS_MAX}`);
  const tokenFile = values['token-file'];
  return {
    from: sourceOf(values),
    to: targetFor(protocol, to),
    protocol,
    tls,
    httpPath: http === undefined ? undefined : pathOf(http),
    size: size === undefined ? undefined : numberOf('--size', size, protocol === 'tcp' ? SIZE_MAX : DATAGRAM_MAX),
    rules: values.rules,
    timeoutMs: timeoutOf(values.timeout),
    agent: { url: values.url, tokenFile, socketPath: values['api-socket'] },
    peers: peers.map((url) => ({ url, tokenFile })),
    output: readFormat(values.output),
  };
}

interface Protocols {
  readonly udp: boolean;
  readonly icmp: boolean;
  readonly tls: boolean;
  readonly http?: string | undefined;
}

function protocolOf({ udp, icmp, tls, http }: Protocols): ReachArguments['protocol'] {
  if (udp && icmp) throw new Error('reach: give --udp or --icmp, not both');
  if (!udp && !icmp) return 'tcp';
  if (tls || http !== undefined) throw new Error('reach: --tls and --http need TCP');
  return udp ? 'udp' : 'icmp';
}

function targetFor(protocol: ReachArguments['protocol'], text: string): ReachTarget {
  const target = parseReachTarget(text);
  if (protocol === 'icmp' && target.port !== undefined) throw new Error(`--to ${text}: ICMP has no ports`);
  if (protocol !== 'icmp' && target.kind === 'host' && target.port === undefined) {
    throw new Error(`--to ${text}: give the port, too, like web:8080 or [fd00::1]:53`);
  }
  return target;
}

interface Source {
  readonly from?: string | undefined;
  readonly netns?: string | undefined;
  readonly pid?: string | undefined;
}

function sourceOf({ from, netns, pid }: Source): Target {
  const given = [from, netns, pid].filter((value) => value !== undefined);
  if (given.length !== 1) throw new Error('reach: give one of --from, --netns and --pid');
  if (netns !== undefined) return { kind: 'netns', name: netns };
  if (pid !== undefined) return { kind: 'pid', pid: numberOf('--pid', pid, 2 ** 22) };
  const [pod = '', namespace, ...more] = (from ?? '').split('/').reverse();
  if (more.length === 0 && pod !== '' && namespace !== '') return { kind: 'pod', namespace, pod };
  throw new Error(`--from ${from}: give NAMESPACE/POD, like shop/web-0`);
}

/** Parses the value of `--to`. @throws if it is malformed */
export function parseReachTarget(text: string): ReachTarget {
  const fault = (why: string) => new Error(`--to ${text}: ${why}, like web:8080, shop/web:80 or [fd00::1]:53`);
  const bare = parseIp(text);
  if (bare !== undefined) return { kind: 'host', host: bare, port: undefined };
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && (port < 1 || port > PORT_MAX)) throw fault(`give a port from 1 to ${PORT_MAX}`);
  if (bracketed !== undefined) {
    const ip = parseIp(bracketed);
    if (ip === undefined) throw fault('give an address in the brackets');
    return { kind: 'host', host: ip, port };
  }
  const [name = '', namespace, ...more] = plain.split('/').reverse();
  if (more.length > 0 || !isHost(name) || (namespace !== undefined && !isHost(namespace))) {
    throw fault('give HOST:PORT, NAMESPACE/SERVICE or an address with its port');
  }
  return namespace === undefined ? { kind: 'host', host: name, port } : { kind: 'object', namespace, name, port };
}

function isHost(text: string): boolean {
  return text.length <= HOST_MAX && /^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?$/i.test(text) && !text.includes('..');
}

function pathOf(text: string): string {
  const path = text === '' ? '/' : text;
  if (path.length <= PATH_MAX && /^\/[\x21-\x7e]*$/.test(path)) return path;
  throw new Error(`--http ${text}: give a path like /healthz, encoded as in a URL`);
}

function numberOf(option: string, text: string, most: number): number {
  const number = /^[1-9]\d{0,8}$/.test(text) ? Number(text) : Number.NaN;
  if (number <= most) return number;
  throw new Error(`${option} ${text}: give a number from 1 to ${most}`);
}

function timeoutOf(text: string): number {
  const ms = (parseDuration(text) ?? 0) / NANOSECONDS_PER_MS;
  if (ms >= TIMEOUT_MS.min && ms <= TIMEOUT_MS.max) return ms;
  throw new Error(`--timeout ${text}: give a duration from 100ms to 1m, like 4s`);
}
