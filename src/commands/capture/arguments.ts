import { parseDuration } from '#core/duration.ts';
import { parseSize } from '#core/size.ts';
import type { AgentAddress } from '../agent_client.ts';
import { AGENT_OPTIONS, parseOptions } from '../options.ts';
import type { Target } from './place.ts';

const NANOSECONDS_PER_MS = 1e6;
const DURATION_MS_MAX = 600_000;
const BYTES_MIN = 1024 ** 2;
const BYTES_MAX = 1024 ** 3;
const PACKETS_MAX = 999_999_999;

/** Maximum number of bytes of a packet, by kind of capture. That of drops is limited by the memory of the BPF program. */
const SNAP = { packets: { byDefault: '256', most: 262_144 }, drops: { byDefault: '128', most: 2_048 } } as const;

const DURATION = '30s';
const SIZE = '64MiB';

export interface CaptureArguments {
  readonly agent: AgentAddress;
  /** One target, or two with `--peer`. */
  readonly targets: readonly Target[];
  readonly drops: boolean;
  readonly filter: string | undefined;
  /** Maximum number of bytes of a packet, from the network header on. */
  readonly snap: number;
  readonly durationMs: number;
  readonly bytes: number;
  readonly packets: number;
  /** Path of the file; `-` for standard output. */
  readonly file: string;
}

/** Parses the arguments of `netsonde capture`. @throws if they are invalid or contradict each other */
export function parseCapture(args: readonly string[]): CaptureArguments {
  const values = parseOptions(args, {
    ...AGENT_OPTIONS,
    pod: { type: 'string' },
    netns: { type: 'string' },
    pid: { type: 'string' },
    node: { type: 'boolean', default: false },
    peer: { type: 'string' },
    drops: { type: 'boolean', default: false },
    filter: { type: 'string' },
    snap: { type: 'string' },
    for: { type: 'string', default: DURATION },
    max: { type: 'string', default: SIZE },
    count: { type: 'string' },
    write: { type: 'string', short: 'w' },
  });
  const { pod, netns, pid, node, peer, drops, filter, write } = values;
  const given: Target[] = [
    ...(pod === undefined ? [] : [podTarget(pod, '--pod')]),
    ...(netns === undefined ? [] : [{ kind: 'netns', name: netns } as const]),
    ...(pid === undefined ? [] : [{ kind: 'pid', pid: numberOf('--pid', pid, 2 ** 22) } as const]),
    ...(node ? [{ kind: 'node' } as const] : []),
  ];
  if (given.length !== 1) throw new Error('capture: give one of --pod, --netns, --pid and --node');
  if (write === undefined) throw new Error('capture: give -w FILE, or -w - for standard output');
  const { byDefault, most } = SNAP[drops ? 'drops' : 'packets'];
  return {
    agent: { url: values.url, tokenFile: values['token-file'], socketPath: values['api-socket'] },
    targets: peer === undefined ? given : [...given, podTarget(peer, '--peer')],
    drops,
    filter: filter?.trim() === '' ? undefined : filter,
    snap: numberOf('--snap', values.snap ?? byDefault, most),
    durationMs: readDuration(values.for),
    bytes: readSize(values.max),
    packets: values.count === undefined ? Number.POSITIVE_INFINITY : numberOf('--count', values.count, PACKETS_MAX),
    file: write,
  };
}

function podTarget(text: string, option: string): Target {
  const [pod = '', namespace, ...more] = text.split('/').reverse();
  if (more.length === 0 && pod !== '' && namespace !== '') return { kind: 'pod', namespace, pod };
  throw new Error(`${option} ${text}: give NAMESPACE/POD, like shop/web-0`);
}

function numberOf(option: string, text: string, most: number): number {
  const number = /^[1-9]\d{0,8}$/.test(text) ? Number(text) : Number.NaN;
  if (number <= most) return number;
  throw new Error(`${option} ${text}: give a number from 1 to ${most}`);
}

function readDuration(text: string): number {
  const ms = (parseDuration(text) ?? 0) / NANOSECONDS_PER_MS;
  if (ms >= 1 && ms <= DURATION_MS_MAX) return ms;
  throw new Error(`--for ${text}: give a duration of up to 10m, like ${DURATION}`);
}

function readSize(text: string): number {
  const bytes = parseSize(text) ?? 0;
  if (bytes >= BYTES_MIN && bytes <= BYTES_MAX) return bytes;
  throw new Error(`--max ${text}: give a size from 1MiB to 1GiB, like ${SIZE}`);
}
