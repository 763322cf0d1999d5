import { setTimeout as wait } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { NotYet, Unsupported } from '#core/reader.ts';
import type { DesiredProbe, ProbeContext } from '#probe/contract.ts';
import type { EventSet, Publish } from '#probe/event.ts';
import { defineRetained, RetainedStates } from '#probe/retained.ts';
import type { Sources } from '#sources/sources.ts';
import { FakeProbe } from '../../test/support/fake_probe.ts';
import { eventually } from '../../test/support/oracle.ts';
import { Aggregator } from './aggregate.ts';
import { Supervisor } from './supervisor.ts';

const RETRY_MS = 10;

let one: FakeProbe;
let two: FakeProbe;
let supervisor: Supervisor;
let logs: string[];

const publish: Publish<EventSet> = () => undefined;

beforeEach(() => {
  one = new FakeProbe('one');
  two = new FakeProbe('two');
  logs = [];
  supervisor = new Supervisor({
    definitions: [one.definition, two.definition],
    sources: { netns: { visibilityGap: undefined } } as Sources,
    context: {} as ProbeContext,
    retained: new RetainedStates(),
    aggregator: new Aggregator(['one', 'two'], () => false),
    publish: () => publish,
    record: () => () => undefined,
    log: (level, message) => void logs.push(`${level} ${message}`),
    retryFirstMs: RETRY_MS,
    lookEveryMs: RETRY_MS,
  });
});

function wish(options: Record<string, unknown> = {}): DesiredProbe {
  return { detail: 'core', settings: { metrics: true, events: false, limit: 100, options } };
}

function want(...names: readonly string[]): Promise<void> {
  return supervisor.apply(new Map(names.map((name) => [name, wish()])));
}

function stateOf(name: string): string {
  const status = supervisor.status().find((candidate) => candidate.name === name);
  return status?.reason === '' ? status.state : `${status?.state}: ${status?.reason}`;
}

describe('the set of running probes', () => {
  it('becomes the desired set', async () => {
    await want('one');
    expect([stateOf('one'), stateOf('two')]).toEqual(['running', 'stopped']);
    await want('two');
    expect([stateOf('one'), stateOf('two')]).toEqual(['stopped', 'running']);
    expect(one.log).toEqual(['open', 'close']);
    expect(supervisor.active().map(({ name }) => name)).toEqual(['two']);
  });

  it('restores the retained state of each probe that is switched on again', async () => {
    const runs = defineRetained(() => 0);
    for (const probe of [one, two]) {
      probe.open = async (scope) => {
        const count = scope.retained(runs);
        count.value++;
        return { health: () => ({ reader: `run ${count.value}`, degraded: [] }) };
      };
    }
    await want('one');
    await want('two');
    await want('one', 'two');
    expect(supervisor.status().map(({ reader }) => reader)).toEqual(['run 2', 'run 1']);
  });

  it('stays if nothing changed, and is opened again if an option did', async () => {
    await want('one');
    await want('one');
    expect(one.log).toEqual(['open']);
    await supervisor.apply(new Map([['one', wish({ stack: true })]]));
    expect(one.log).toEqual(['open', 'close', 'open']);
  });

  it('ends in the last desired state when changes overtake each other', async () => {
    one.open = async () => {
      await wait(10);
      return { health: () => ({ reader: 'fake', degraded: [] }) };
    };
    await Promise.all([want('one'), want(), want('one'), want()]);
    expect(stateOf('one')).toBe('stopped');
    expect(one.log.filter((entry) => entry === 'open').length).toBe(
      one.log.filter((entry) => entry === 'close').length,
    );
  });

  it('is empty after the supervisor is closed', async () => {
    await want('one', 'two');
    await supervisor[Symbol.asyncDispose]();
    expect(supervisor.active()).toEqual([]);
    expect([...one.log, ...two.log]).toEqual(['open', 'close', 'open', 'close']);
  });
});

describe('a probe that cannot open', () => {
  it('is unsupported with its reason, releases its resources, and is not retried', async () => {
    one.open = async () => {
      throw new Unsupported('this kernel has no BTF');
    };
    await want('one', 'two');
    expect(stateOf('one')).toBe('unsupported: this kernel has no BTF');
    expect(stateOf('two')).toBe('running');
    await wait(5 * RETRY_MS);
    expect(one.log).toEqual(['open', 'close']);
  });

  it('is opened once the missing resource has appeared, and tries nothing else before', async () => {
    let isThere = false;
    let looks = 0;
    const { open } = one;
    one.open = async () => {
      throw new NotYet('ip_vs is not loaded yet', () => {
        looks++;
        return isThere;
      });
    };
    await want('one');
    expect(stateOf('one')).toBe('unsupported: ip_vs is not loaded yet');
    await vi.waitFor(() => expect(looks).toBeGreaterThan(2));
    expect(one.log).toEqual(['open', 'close']);
    expect(logs).toEqual(['warn one: unsupported: ip_vs is not loaded yet']);
    one.open = open;
    isThere = true;
    await vi.waitFor(() => expect(stateOf('one')).toBe('running'));
    // Once the probe is running, the supervisor no longer checks whether the resource is available.
    const { length } = one.log;
    await wait(5 * RETRY_MS);
    expect(one.log).toHaveLength(length);
  });

  it('is not looked for once it is switched off', async () => {
    let looks = 0;
    one.open = async () => {
      throw new NotYet('not yet', () => ++looks < 0);
    };
    await want('one');
    await want();
    const before = looks;
    await wait(5 * RETRY_MS);
    expect(looks).toBe(before);
  });

  it('is retried if it failed, until it opens', async () => {
    let tries = 0;
    const { open } = one;
    one.open = async (scope) => {
      tries++;
      if (tries < 3) throw new Error('no memory');
      return open(scope);
    };
    await want('one');
    expect(stateOf('one')).toBe('failed: no memory');
    await eventually(() => expect(stateOf('one')).toBe('running'));
    expect(tries).toBe(3);
    expect(one.log.filter((entry) => entry === 'close')).toHaveLength(2);
  });

  it('is not retried once it is no longer wanted', async () => {
    one.open = async () => {
      throw new Error('no memory');
    };
    await want('one');
    await want();
    const before = one.log.length;
    await wait(5 * RETRY_MS);
    expect(one.log).toHaveLength(before);
    expect(stateOf('one')).toBe('stopped');
  });

  it('is reported once for each change, not once for each retry', async () => {
    one.open = async () => {
      throw new Error('no memory');
    };
    await want('one');
    expect(logs.filter((line) => line.includes('no memory'))).toHaveLength(1);
  });
});

describe('a probe that closes', () => {
  it('releases everything in reverse order, though one release throws', async () => {
    const order: string[] = [];
    one.open = async (scope) => {
      scope.own({ [Symbol.dispose]: () => void order.push('first') });
      scope.own({
        [Symbol.dispose]: () => {
          order.push('second');
          throw new Error('stubborn');
        },
      });
      scope.own({ [Symbol.asyncDispose]: async () => void order.push('third') });
      return { health: () => ({ reader: '', degraded: [] }) };
    };
    await want('one');
    await want();
    expect(order).toEqual(['third', 'second', 'first']);
    expect(stateOf('one')).toBe('stopped');
    expect(logs.some((line) => line.includes('stubborn'))).toBe(true);
  });

  it('sees its signal aborted', async () => {
    let signal: AbortSignal | undefined;
    one.open = async (scope) => {
      signal = scope.signal;
      return { health: () => ({ reader: '', degraded: [] }) };
    };
    await want('one');
    expect(signal?.aborted).toBe(false);
    await want();
    expect(signal?.aborted).toBe(true);
  });
});

it('a running probe that lacks a part, or whose collection failed, is degraded', async () => {
  const degraded: string[] = [];
  let note: string | undefined;
  one.open = async () => ({ health: () => ({ reader: 'hook', degraded, note }) });
  await want('one');
  degraded.push('no reasons');
  expect(stateOf('one')).toBe('degraded: no reasons');
  note = 'not by peer';
  expect(stateOf('one')).toBe('degraded: no reasons; not by peer');
  note = undefined;
  degraded.length = 0;
  supervisor.active()[0]?.collected(0.5, new Error('boom'));
  expect(stateOf('one')).toBe('degraded: the last collection failed: boom');
  supervisor.active()[0]?.collected(0.25, undefined);
  expect(stateOf('one')).toBe('running');
  expect(supervisor.status()[0]).toMatchObject({ collectSeconds: 0.25, reader: 'hook' });
});
