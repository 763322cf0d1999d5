import { setTimeout as wait } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../test/support/oracle.ts';
import type { EventSet, Publish } from '../probes/event.ts';
import type { AnyProbe, ProbeScope, RunningProbe } from '../probes/probe.ts';
import { Unsupported } from '../probes/probe.ts';
import type { Sources } from '../sources/sources.ts';
import { Aggregator } from './aggregate.ts';
import { type DesiredProbe, Supervisor } from './supervisor.ts';

const RETRY_MS = 10;

/** A probe whose opening the test decides. */
class FakeProbe {
  readonly log: string[] = [];
  open: (scope: ProbeScope<EventSet>) => Promise<RunningProbe<never>> = async () => ({
    health: () => ({ reader: 'fake', degraded: [] }),
  });
  readonly definition: AnyProbe;

  constructor(name: string) {
    this.definition = {
      name,
      kind: 'procfs',
      cost: 'low',
      enabledByDefault: true,
      summary: '',
      metrics: {},
      events: {},
      options: {},
      requires: { capabilities: [], kernel: '' },
      open: async (scope) => {
        this.log.push('open');
        scope.own({ [Symbol.dispose]: () => void this.log.push('close') });
        return this.open(scope as unknown as ProbeScope<EventSet>);
      },
    };
  }
}

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
    sources: { netns: { blindness: undefined } } as Sources,
    aggregator: new Aggregator(['one', 'two'], () => false),
    publish: () => publish,
    log: (level, message) => void logs.push(`${level} ${message}`),
    retryFirstMs: RETRY_MS,
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
  it('becomes what is asked for', async () => {
    await want('one');
    expect([stateOf('one'), stateOf('two')]).toEqual(['running', 'stopped']);
    await want('two');
    expect([stateOf('one'), stateOf('two')]).toEqual(['stopped', 'running']);
    expect(one.log).toEqual(['open', 'close']);
    expect(supervisor.active().map(({ name }) => name)).toEqual(['two']);
  });

  it('is left alone where nothing changed, and opened anew where an option did', async () => {
    await want('one');
    await want('one');
    expect(one.log).toEqual(['open']);
    await supervisor.apply(new Map([['one', wish({ stack: true })]]));
    expect(one.log).toEqual(['open', 'close', 'open']);
  });

  it('ends at the last wish when wishes overtake each other', async () => {
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
  it('is unsupported with its reason, releases what it had, and is not tried again', async () => {
    one.open = async () => {
      throw new Unsupported('this kernel has no BTF');
    };
    await want('one', 'two');
    expect(stateOf('one')).toBe('unsupported: this kernel has no BTF');
    expect(stateOf('two')).toBe('running');
    await wait(5 * RETRY_MS);
    expect(one.log).toEqual(['open', 'close']);
  });

  it('is tried again where it failed, until it opens', async () => {
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

  it('is not tried again once it is not wanted any more', async () => {
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

  it('is told of once for each change, not once for each try', async () => {
    one.open = async () => {
      throw new Error('no memory');
    };
    await want('one');
    expect(logs.filter((line) => line.includes('no memory'))).toHaveLength(1);
  });
});

describe('a probe that closes', () => {
  it('releases everything, the last first, though one release throws', async () => {
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
  one.open = async () => ({ health: () => ({ reader: 'hook', degraded }) });
  await want('one');
  degraded.push('no reasons');
  expect(stateOf('one')).toBe('degraded: no reasons');
  degraded.length = 0;
  supervisor.active()[0]?.collected(0.5, new Error('boom'));
  expect(stateOf('one')).toBe('degraded: the last collection failed: boom');
  supervisor.active()[0]?.collected(0.25, undefined);
  expect(stateOf('one')).toBe('running');
  expect(supervisor.status()[0]).toMatchObject({ collectSeconds: 0.25, reader: 'hook' });
});
