import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DesiredProbe, ProbeContext } from '#probe/contract.ts';
import { RetainedStates } from '#probe/retained.ts';
import type { Sources } from '#sources/sources.ts';
import { FakeProbe } from '../../test/support/fake_probe.ts';
import { Aggregator } from './aggregate.ts';
import { Supervisor } from './supervisor.ts';

const SETTINGS: DesiredProbe = {
  detail: 'core',
  settings: { metrics: true, events: false, limit: 100, options: {} },
};

let one: FakeProbe;
let supervisor: Supervisor;

function stateOf(name: string): string {
  const status = supervisor.status().find((candidate) => candidate.name === name);
  return status?.reason === '' ? status.state : `${status?.state}: ${status?.reason}`;
}

describe('a budget', () => {
  const EVERY_MS = 50;
  const PAUSE_MS = 150;
  let missing: string | undefined;
  /** Share of a CPU that the probe's programs use. */
  let share: number;

  function burn(first: number): void {
    share = first;
    one.open = async () => {
      let seconds = 0;
      let lastMs = performance.now();
      return {
        health: () => ({ reader: 'fake', degraded: [] }),
        programs: () => {
          const nowMs = performance.now();
          seconds += ((nowMs - lastMs) / 1000) * share;
          lastMs = nowMs;
          return [{ name: 'p', hook: 'h', id: 1, runs: 1n, runSeconds: seconds, missed: 0n }];
        },
      };
    };
  }

  const wishFor = (budget: number) => new Map([['one', { ...SETTINGS, budget }]]);

  const opened = () => one.log.filter((entry) => entry === 'open').length;
  /** Returns the current pause as a multiple of the first one. */
  const pauseOf = () => {
    const { since = '', reason = '' } = supervisor.status()[0] ?? {};
    return (Date.parse(reason.slice(-24)) - Date.parse(since)) / PAUSE_MS;
  };

  beforeEach(() => {
    one = new FakeProbe('one');
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
    });
    missing = undefined;
    supervisor = new Supervisor({
      definitions: [{ ...one.definition, kind: 'ebpf' }],
      sources: { netns: { visibilityGap: undefined } } as Sources,
      context: {} as ProbeContext,
      retained: new RetainedStates(),
      aggregator: new Aggregator(['one'], () => false),
      publish: () => () => undefined,
      record: () => () => undefined,
      log: () => undefined,
      budgetEveryMs: EVERY_MS,
      budgetPauseFirstMs: PAUSE_MS,
      runTimesMissing: () => missing,
    });
  });

  afterEach(async () => {
    await supervisor[Symbol.asyncDispose]();
    vi.useRealTimers();
  });

  it('that is kept does not affect the probe', async () => {
    burn(0.1);
    await supervisor.apply(wishFor(0.2));
    supervisor.active()[0]?.collected(0.001, undefined);
    await vi.advanceTimersByTimeAsync(4 * EVERY_MS);
    expect(stateOf('one')).toBe('running');
    expect(one.log).toEqual(['open']);
  });

  it('that is exceeded closes the probe, says why and when it is retried, and pauses longer each time', async () => {
    burn(0.5);
    await supervisor.apply(wishFor(0.2));
    for (const [index, pause] of [1, 2, 4].entries()) {
      await vi.advanceTimersByTimeAsync(EVERY_MS);
      const { reason = '' } = supervisor.status()[0] ?? {};
      expect(stateOf('one')).toMatch(/^failed/);
      expect(reason).toMatch(
        /^took 50 % of a CPU for \d s, its budget is 20 % \(BPF programs 50 %, collecting 0 %\); it will be retried at 20[^ ]+Z$/,
      );
      expect(one.log.filter((entry) => entry === 'close')).toHaveLength(index + 1);
      expect(pauseOf()).toBe(pause);
      await vi.advanceTimersByTimeAsync(pause * PAUSE_MS - 1);
      expect(opened()).toBe(index + 1);
      await vi.advanceTimersByTimeAsync(1);
      expect(opened()).toBe(index + 2);
    }
  });

  it('starts over with short pauses once the probe has stayed within it for long', async () => {
    burn(0.5);
    await supervisor.apply(wishFor(0.2));
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(stateOf('one')).toMatch(/^failed/);
    expect(pauseOf()).toBe(1);
    share = 0.1;
    await vi.advanceTimersByTimeAsync(PAUSE_MS);
    expect(opened()).toBe(2);
    await vi.advanceTimersByTimeAsync(3 * PAUSE_MS);
    expect(stateOf('one')).toBe('running');
    share = 0.5;
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(stateOf('one')).toMatch(/^failed/);
    expect(pauseOf()).toBe(1);
  });

  it('starts over at once with another configuration', async () => {
    burn(0.5);
    await supervisor.apply(wishFor(0.2));
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(stateOf('one')).toMatch(/^failed/);
    share = 0.1;
    await supervisor.apply(wishFor(0.3));
    expect(stateOf('one')).toBe('running');
    await supervisor.apply(wishFor(0.05));
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(stateOf('one')).toMatch(/^failed/);
    expect(pauseOf()).toBe(1);
  });

  it('includes the time to collect', async () => {
    burn(0);
    await supervisor.apply(wishFor(0.2));
    supervisor.active()[0]?.collected(0.9 * (EVERY_MS / 1000), undefined);
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(stateOf('one')).toMatch(/^failed: took .* \(BPF programs 0 %, collecting 90 %\)/);
  });

  it('reports that it is incomplete if the kernel measures no run times', async () => {
    missing = 'not allowed';
    burn(0);
    await supervisor.apply(wishFor(0.2));
    expect(stateOf('one')).toBe('degraded: only the time of collections counts against the budget: not allowed');
  });

  it('leaves no timer behind', async () => {
    burn(0.5);
    await supervisor.apply(wishFor(0.2));
    await supervisor.apply(new Map());
    await vi.advanceTimersByTimeAsync(3 * EVERY_MS);
    expect(stateOf('one')).toBe('stopped');
    expect(one.log).toEqual(['open', 'close']);
  });
});
