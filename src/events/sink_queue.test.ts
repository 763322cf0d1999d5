import { setTimeout as wait } from 'node:timers/promises';
import { beforeEach, expect, it } from 'vitest';
import { eventually } from '../../test/support/oracle.ts';
import { EventBus } from './bus.ts';
import type { EventRecord } from './envelope.ts';
import { Ledger } from './ledger.ts';
import { type Sink, SinkQueue } from './sink_queue.ts';

function events(count: number, probe = 'packetloss'): EventRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    time: `2026-01-01T00:00:00.${String(index).padStart(9, '0')}Z`,
    probe,
    type: 'packet_drop',
    severity: 'warning',
    node: 'n',
    netns: '1',
    namespace: '',
    pod: '',
    message: `event ${index}`,
  }));
}

class FakeSink implements Sink {
  readonly name = 'fake';
  readonly written: EventRecord[] = [];
  act: () => Promise<void> = async () => undefined;

  async write(batch: readonly EventRecord[]): Promise<void> {
    await this.act();
    this.written.push(...batch);
  }

  async close(): Promise<void> {}
}

let sink: FakeSink;
let ledger: Ledger;
let errors: string[];

beforeEach(() => {
  sink = new FakeSink();
  ledger = new Ledger();
  errors = [];
});

function queue(capacity = 1_000): SinkQueue {
  return new SinkQueue(sink, ledger, ({ message }) => void errors.push(message), capacity);
}

function row() {
  const [only] = ledger.rows();
  const dropped = [...(only?.dropped.values() ?? [])].reduce((sum, count) => sum + count, 0);
  return { delivered: only?.delivered, pending: only?.pending, dropped };
}

it('delivers everything in order', async () => {
  const sent = events(2_345);
  const under = queue(10_000);
  under.offer(sent);
  await eventually(() => expect(sink.written).toEqual(sent));
  expect(row()).toEqual({ delivered: 2_345, pending: 0, dropped: 0 });
});

it('drops the oldest where a slow sink lets the queue fill up, and counts them', async () => {
  let open = () => undefined as unknown;
  const gate = new Promise((resolve) => {
    open = () => resolve(undefined);
  });
  sink.act = async () => void (await gate);
  const under = queue(10);
  const sent = events(600);
  under.offer(sent.slice(0, 5));
  await wait(1);
  under.offer(sent.slice(5));
  expect(row()).toEqual({ delivered: 0, pending: 15, dropped: 585 });
  open();
  await eventually(() => expect(row()).toEqual({ delivered: 15, pending: 0, dropped: 585 }));
  expect(sink.written.map(({ message }) => message)).toEqual(
    [...sent.slice(0, 5), ...sent.slice(-10)].map(({ message }) => message),
  );
});

it('counts a batch that could not be written, says so, and goes on', async () => {
  sink.act = async () => {
    throw new Error('disk full');
  };
  const under = queue();
  under.offer(events(3));
  await eventually(() => expect(row()).toEqual({ delivered: 0, pending: 0, dropped: 3 }));
  expect(errors).toEqual(['disk full']);
  sink.act = async () => undefined;
  under.offer(events(2));
  await eventually(() => expect(row()).toEqual({ delivered: 2, pending: 0, dropped: 3 }));
});

it('writes what is left when it closes, at most for the time it is given', async () => {
  const fast = queue();
  fast.offer(events(700));
  await fast.close(1_000);
  expect(row()).toEqual({ delivered: 700, pending: 0, dropped: 0 });
  sink.act = () => new Promise(() => undefined);
  const slow = queue();
  slow.offer(events(600));
  await slow.close(20);
  // 500 are in a write that does not come back.
  expect(row()).toEqual({ delivered: 700, pending: 500, dropped: 100 });
});

it('the bus gives events to sinks and followers, and keeps the last ones for who asks later', async () => {
  const bus = new EventBus();
  bus.setSinks([queue()]);
  const followed: string[] = [];
  const subscription = bus.follow((batch) => followed.push(...batch.map(({ message }) => message)));
  bus.publish(events(2, 'one'));
  bus.publish(events(1, 'two'));
  subscription[Symbol.dispose]();
  bus.publish(events(3_000, 'three'));
  expect(followed).toEqual(['event 0', 'event 1', 'event 0']);
  expect(bus.history({})).toHaveLength(1_000);
  expect(bus.history({ probe: 'one' })).toEqual([]);
  expect(bus.history({ since: '2026-01-01T00:00:00.000002990Z' })).toHaveLength(10);
  expect(bus.setSinks([])).toHaveLength(1);
});
