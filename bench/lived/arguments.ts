import type { ParseArgsOptionsConfig } from 'node:util';
import type { LatencyOptions } from '../latency.ts';
import type { LivedOptions } from './lived.ts';

/** Options of `npm run bench -- lived` and `latency`, in the format of parseArgs from node:util. */
export const LIVED_ARGUMENTS = {
  bed: { type: 'string', default: 'namespaces' },
  count: { type: 'string', default: '110' },
  every: { type: 'string', default: '15,1' },
  scrapes: { type: 'string', default: '20' },
  before: { type: 'string', default: '60' },
  idle: { type: 'string', default: '30' },
  dying: { type: 'string', default: '0' },
  edges: { type: 'string', default: '0' },
  silence: { type: 'string', default: '60' },
  baseline: { type: 'string', multiple: true, default: [] },
} as const satisfies ParseArgsOptionsConfig;

type Given = {
  readonly [Name in Exclude<keyof typeof LIVED_ARGUMENTS, 'baseline'>]?: string | undefined;
} & { readonly baseline?: readonly string[] | undefined };

export function latencyOptions({ silence, baseline = [] }: Given): LatencyOptions {
  return { silenceSeconds: positive('silence', silence), baselines: baseline };
}

/** @throws if a value is invalid */
export function livedOptions(given: Given): LivedOptions {
  const { bed, baseline = [] } = given;
  if (bed !== 'namespaces' && bed !== 'pods') throw new Error(`--bed ${bed}: namespaces or pods`);
  const edges = whole('edges', given.edges);
  if (edges > 0 && bed !== 'pods') throw new Error(`--edges ${edges}: needs --bed pods`);
  const everySeconds = (given.every ?? '').split(',').map((text) => positive('every', text));
  return {
    bed,
    everySeconds,
    count: whole('count', given.count),
    scrapes: whole('scrapes', given.scrapes),
    before: whole('before', given.before),
    dying: whole('dying', given.dying),
    edges,
    idleSeconds: positive('idle', given.idle),
    baselines: baseline,
  };
}

function positive(name: string, text: string | undefined): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} ${text}: not a number above 0`);
  return value;
}

function whole(name: string, text: string | undefined): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} ${text}: not a whole number`);
  return value;
}
