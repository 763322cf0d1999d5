import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { makeEvents } from '../../../test/support/event_lines.ts';
import type { PolicyFields } from './judge.ts';
import { Verdicts } from './verdicts.ts';

const FIELDS: PolicyFields = { policy: 'ingress denied: p', policyVerdict: 'denied', policySure: 'seen' };
let held: number;
let sent: EventRecord[];
let verdicts: Verdicts;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  held = 0;
  sent = [];
  verdicts = new Verdicts({
    held: (_, change) => {
      held += change;
    },
    send: (events) => sent.push(...events),
  });
});

afterEach(() => {
  vi.useRealTimers();
});

const [first, second] = makeEvents(2) as [EventRecord, EventRecord];

it('holds an event until its verdict is known, and lets others pass', async () => {
  expect(verdicts.awaits(first, undefined)).toBe(false);
  const { promise, resolve } = Promise.withResolvers<PolicyFields | undefined>();
  expect(verdicts.awaits(first, promise)).toBe(true);
  expect(verdicts.awaits(second, Promise.resolve(undefined))).toBe(true);
  expect(held).toBe(2);
  await turn();
  expect(sent).toEqual([second]);
  resolve(FIELDS);
  await turn();
  expect(sent).toEqual([second, { ...first, ...FIELDS }]);
  expect([held, vi.getTimerCount()]).toEqual([0, 0]);
});

it('the verdict about a drop of a firewall is unknown after the deadline', () => {
  const drop = { ...first, type: 'packet_drop', reason: 'NETFILTER_DROP', symbol: 'nft_do_chain' };
  verdicts.awaits(drop, new Promise(() => undefined));
  vi.advanceTimersByTime(3_000);
  expect(sent).toMatchObject([{ ...drop, policyVerdict: 'unknown', policy: expect.stringContaining('in time') }]);
});

it('sends another event without a verdict after the deadline, once', async () => {
  const { promise, resolve } = Promise.withResolvers<PolicyFields | undefined>();
  verdicts.awaits(first, promise);
  vi.advanceTimersByTime(2_999);
  expect(sent).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(sent).toEqual([first]);
  resolve(FIELDS);
  await turn();
  expect([sent.length, held]).toEqual([1, 0]);
});

it('holds a limited number of events, sends further ones at once, and sends all of them when the agent ends', () => {
  const never = new Promise<undefined>(() => undefined);
  const events = makeEvents(1_001);
  expect(events.every((event) => verdicts.awaits(event, never))).toBe(true);
  expect([sent.length, held]).toEqual([1, 1_000]);
  verdicts[Symbol.dispose]();
  expect(sent).toHaveLength(1_001);
  expect(held).toBe(0);
});
