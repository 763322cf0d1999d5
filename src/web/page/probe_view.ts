import type { ProbeReport } from '#api/probes.ts';
import { HISTORY_MS } from './flows/history.ts';
import type { SparkPoint } from './line.ts';

export type Tone = 'bad' | 'warn' | 'good' | 'off';

/** Name, style and rank of each state. Problems rank first. */
const STATES: Readonly<Record<ProbeReport['state'], { word: string; tone: Tone; rank: number }>> = {
  failed: { word: 'failed', tone: 'bad', rank: 0 },
  degraded: { word: 'degraded', tone: 'warn', rank: 1 },
  unsupported: { word: 'unsupported', tone: 'warn', rank: 2 },
  starting: { word: 'starting', tone: 'good', rank: 3 },
  stopping: { word: 'stopping', tone: 'good', rank: 3 },
  running: { word: 'running', tone: 'good', rank: 3 },
  stopped: { word: 'off', tone: 'off', rank: 4 },
};

export function stateOf({ state }: ProbeReport): { word: string; tone: Tone; rank: number } {
  return STATES[state];
}

export function isProblem(probe: ProbeReport): boolean {
  return ['bad', 'warn'].includes(stateOf(probe).tone);
}

/**
 * Sorts probes by rank. Within a rank, temporarily changed probes come first. Otherwise, the order of the configuration
 * is kept.
 */
export function inOrder(probes: readonly ProbeReport[]): ProbeReport[] {
  const isLasting = ({ until }: ProbeReport) => Number(until === null);
  return [...probes].sort((a, b) => stateOf(a).rank - stateOf(b).rank || isLasting(a) - isLasting(b));
}

export interface BpfCost {
  /** Average duration of one run since the programs were loaded, in seconds. */
  readonly secondsPerRun: number | null;
  /** Fraction of one CPU used between the last two readings; null after the first reading. */
  readonly share: number | null;
}

interface Reading {
  readonly atMs: number;
  readonly runSeconds: number;
}

/** Measures the CPU time of the probes' BPF programs between two readings. */
export class BpfCosts {
  #before: ReadonlyMap<string, Reading> = new Map();
  #now: ReadonlyMap<string, Reading> = new Map();

  /** @param atMs time of any clock, in milliseconds */
  add(probes: readonly ProbeReport[], atMs: number): void {
    this.#before = this.#now;
    this.#now = new Map(
      probes
        .filter(({ measured, programs }) => measured && programs.length > 0)
        .map(({ name, programs }) => [name, { atMs, runSeconds: sum(programs.map((program) => program.runSeconds)) }]),
    );
  }

  /** Returns undefined if nothing is measured. */
  of({ name, measured, programs }: ProbeReport): BpfCost | undefined {
    if (!measured || programs.length === 0) return undefined;
    const [before, now] = [this.#before.get(name), this.#now.get(name)];
    const runs = sum(programs.map((program) => program.runs));
    const grown = before === undefined || now === undefined ? -1 : now.runSeconds - before.runSeconds;
    return {
      secondsPerRun: runs === 0 ? null : sum(programs.map(({ runSeconds }) => runSeconds)) / runs,
      share: before === undefined || now === undefined || grown < 0 ? null : (grown * 1_000) / (now.atMs - before.atMs),
    };
  }
}

/**
 * Maximum interval between two readings that does not count as a gap. While another tab is open, the page reads every
 * 10 s.
 */
const GAP_MS = 30_000;

interface CollectPoint {
  readonly atMs: number;
  /** Duration of a collection; null if there was none. */
  readonly seconds: number | null;
}

/** Durations of the collections of each probe in the last five minutes. */
export class CollectTimes {
  #readings = new Map<string, readonly CollectPoint[]>();
  #lines = new Map<string, readonly SparkPoint[]>();

  /** @param atMs time of any clock, in milliseconds */
  add(probes: readonly ProbeReport[], atMs: number): void {
    this.#readings = new Map(
      probes.map(({ name, collectSeconds, state }) => {
        const kept = (this.#readings.get(name) ?? []).filter((point) => point.atMs > atMs - HISTORY_MS);
        return [name, [...kept, { atMs, seconds: state === 'stopped' ? null : collectSeconds }]];
      }),
    );
    this.#lines = new Map();
  }

  /** Returns the line of a probe. Calls return the same array until the next reading. */
  line(name: string): readonly SparkPoint[] {
    const points = this.#readings.get(name) ?? [];
    const endMs = points.at(-1)?.atMs ?? 0;
    const line =
      this.#lines.get(name) ??
      points.map(({ atMs, seconds }, index) => ({
        at: 1 - (endMs - atMs) / HISTORY_MS,
        value: seconds,
        isAfterGap: atMs - (points[index - 1]?.atMs ?? atMs) > GAP_MS,
      }));
    this.#lines.set(name, line);
    return line;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
