import { describe, expect, it } from 'vitest';
import type { FlowTotals } from '#api/flow_rates.ts';
import { FlowHistory, HISTORY_MS } from './history.ts';

const START = Date.parse('2026-01-01T00:00:00Z');

function totals(sentBytes: number): FlowTotals {
  return {
    connections: 0,
    failed: {},
    sentBytes,
    receivedBytes: 0,
    sentSegments: 0,
    retransmittedSegments: 0,
    roundTripSeconds: null,
    roundTripCount: 0,
  };
}

type Values = Readonly<Record<string, number>>;

function read(history: FlowHistory, second: number, values: Values, isComplete = true): void {
  const rows = Object.entries(values).map(([id, sentBytes]) => [id, totals(sentBytes)] as const);
  history.add({ atMs: START + second * 1_000, totals: new Map(rows), isComplete });
}

function historyOf(...readings: [second: number, values: Values, isComplete?: boolean][]): FlowHistory {
  const history = new FlowHistory();
  for (const reading of readings) read(history, ...reading);
  return history;
}

const rateOf = (history: FlowHistory, id: string) => {
  const sum = history.sum(id);
  return sum === undefined ? undefined : sum.counts.sentBytes / sum.seconds;
};
const bytesOf = (history: FlowHistory, id: string) => history.points(id).map(({ counts }) => counts?.sentBytes);

describe('an average', () => {
  it('needs two readings, and readings of one collection are one', () => {
    const history = historyOf([0, { a: 10 }], [0, { a: 10 }]);
    expect([rateOf(history, 'a'), history.seconds, history.version]).toEqual([undefined, 0, 1]);
    read(history, 4, { a: 50 });
    expect([rateOf(history, 'a'), history.seconds, history.version]).toEqual([10, 4, 2]);
  });

  it('covers the last minute', () => {
    const history = new FlowHistory();
    for (let second = 0; second <= 100; second += 5) read(history, second, { a: Math.min(second, 45) * 8 });
    expect(history.seconds).toBe(60);
    // Within the last minute, the counter grew only between the readings at 40 s and 45 s.
    expect(history.sum('a')?.counts.sentBytes).toBe(40);
  });

  it('of a new row includes the time in which it did not exist', () => {
    expect(rateOf(historyOf([0, {}], [10, {}], [20, { a: 100 }]), 'a')).toBe(5);
  });

  it('of a row that may have been left out is unknown until it was read twice', () => {
    const history = historyOf([0, {}, false], [10, { a: 100 }, false]);
    expect(rateOf(history, 'a')).toBeUndefined();
    read(history, 20, { a: 130 }, false);
    expect(rateOf(history, 'a')).toBe(3);
    expect(bytesOf(history, 'a')).toEqual([undefined, 30]);
  });

  it('continues when the totals begin again', () => {
    expect(rateOf(historyOf([0, { a: 1_000 }], [10, { a: 1_010 }], [20, { a: 10 }]), 'a')).toBe(1);
  });
});

describe('points', () => {
  it('cover five minutes, and no more are kept', () => {
    const history = new FlowHistory();
    for (let second = 0; second <= 900; second += 4) read(history, second, { a: second });
    const points = history.points('a');
    expect(points).toHaveLength(HISTORY_MS / 4_000);
    expect(points.every(({ counts, seconds }) => counts?.sentBytes === 4 && seconds === 4)).toBe(true);
  });

  it('have a gap where nothing was read for a while, and the average begins after it', () => {
    const history = historyOf([0, { a: 0 }], [4, { a: 4 }], [94, { a: 9_000 }], [98, { a: 9_008 }]);
    expect(history.points('a').map(({ startMs, endMs }) => [startMs - START, endMs - START])).toEqual([
      [0, 4_000],
      [94_000, 98_000],
    ]);
    expect(rateOf(history, 'a')).toBe(2);
  });

  it('begin again when the clock was set back', () => {
    const history = historyOf([100, { a: 0 }], [104, { a: 4 }], [50, { a: 8 }], [54, { a: 16 }]);
    expect(bytesOf(history, 'a')).toEqual([8]);
  });
});
