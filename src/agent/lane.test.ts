import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { EventBus } from '#events/bus.ts';
import { PodLimiter } from '#events/limiter.ts';
import type { PeerLookup } from '#peers/peer.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { PROBES } from '#probes/index.ts';
import { makeEvents } from '../../test/support/event_lines.ts';
import { makeRequests, REQUEST_KIND } from '../../test/support/request_kind.ts';
import { Lane } from './lane.ts';

let bus: EventBus;
let ledger: Ledger;
let lane: Lane;
let out: EventRecord[];
let delivered: LaneRecord[];
let peers: PeerLookup | undefined;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  bus = new EventBus();
  out = [];
  delivered = [];
  peers = undefined;
  bus.follow((events) => out.push(...events.map(({ event }) => event)));
  ledger = new Ledger();
  lane = new Lane({
    node: 'n',
    probes: PROBES,
    ledger,
    bus,
    peers: () => peers,
    deliver: (records) => delivered.push(...records),
  });
  lane.configure({ limit: 100, foldMs: 1_000, history: 0 });
});

afterEach(() => {
  lane[Symbol.dispose]();
  vi.useRealTimers();
});

/** One event, the given nanosecond after the hour. */
function event(at: number, more: Partial<EventRecord> = {}): EventRecord {
  const [made] = makeEvents(1, { pod: 'cart', reason: 'NO_SOCKET', src: '10.0.0.1:1', dst: '10.0.0.2:2', ...more }, at);
  if (made === undefined) throw new Error('none made');
  return made;
}

const SOURCE = { kind: 'event', probe: 'packetloss' };
const balance = () => ledger.before();

it('of equal events sends the first, and at the end of the window one that stands for the rest', () => {
  const events = Array.from({ length: 10 }, (_, at) => event(at));
  lane.receive(events);
  expect(out).toEqual([events[0]]);
  expect(balance()).toEqual([{ ...SOURCE, received: 10, limited: 0, folded: 8, held: 1 }]);
  vi.advanceTimersByTime(1_250);
  const second = { ...events[9], count: 9, firstTime: events[1]?.time, lastTime: events[9]?.time };
  expect(out).toEqual([events[0], second]);
  expect(balance()).toEqual([{ ...SOURCE, received: 10, limited: 0, folded: 8, held: 0 }]);
  // Still the same thing: its window is open again.
  lane.receive([event(20)]);
  expect(out).toHaveLength(2);
  vi.advanceTimersByTime(1_250);
  // One that stands for itself alone says no more than itself.
  expect(out[2]).toEqual(event(20));
  vi.advanceTimersByTime(1_250);
  lane.receive([event(30)]);
  expect(out[3]).toEqual(event(30));
});

it.each([
  ['a field that the type names', { reason: 'NETFILTER_DROP' }],
  ['a port', { src: '10.0.0.1:9' }],
  ['the namespace', { netns: '2' }],
  ['the protocol', { protocol: 'udp' }],
  ['the type', { probe: 'tcpreset', type: 'tcp_reset' }],
])('events that differ in %s are not equal', (_, other) => {
  lane.receive([event(0), event(1, other)]);
  expect(out).toHaveLength(2);
});

it('events that differ in what their type does not name are equal', () => {
  lane.receive([event(0, { length: 60 }), event(1, { length: 1_500, pid: 7 })]);
  expect(out).toHaveLength(1);
});

it('names only fields that there are', () => {
  for (const probe of PROBES) {
    for (const { equalBy, fields } of Object.values<EventDescriptor>(probe.events)) {
      expect(Object.keys(fields)).toEqual(expect.arrayContaining([...equalBy]));
    }
  }
});

it('sends what is held when folding is switched off, and when the agent ends', () => {
  lane.receive([event(0), event(1), event(2)]);
  lane.configure({ limit: 100, foldMs: 0, history: 0 });
  expect(out.map(({ count }) => count)).toEqual([undefined, 2]);
  lane.receive([event(3), event(4)]);
  expect(out).toHaveLength(4);
  lane.configure({ limit: 100, foldMs: 1_000, history: 0 });
  lane.receive([event(5), event(6)]);
  lane[Symbol.dispose]();
  expect(out).toHaveLength(6);
  expect(balance()[0]?.held).toBe(0);
});

it('does not keep more windows than it may, and counts what goes past them', () => {
  lane.configure({ limit: 100_000, foldMs: 1_000, history: 0 });
  lane.receive(Array.from({ length: 10_100 }, (_, at) => event(at, { src: `10.0.0.1:${at}` })));
  expect(out).toHaveLength(10_100);
  expect(lane.unfolded).toBe(100);
});

it('limits each Pod for itself, and counts what it leaves out', () => {
  lane.configure({ limit: 100, foldMs: 0, history: 0 });
  const storm = (pod: string, count: number) => Array.from({ length: count }, (_, at) => event(at, { pod }));
  lane.receive(storm('noisy', 50_000));
  expect(out).toHaveLength(200);
  lane.receive(storm('quiet', 1));
  expect(out).toHaveLength(201);
  vi.advanceTimersByTime(1_000);
  lane.receive(storm('noisy', 50_000));
  expect(out).toHaveLength(301);
  expect(balance()).toEqual([{ ...SOURCE, received: 100_001, limited: 99_700, folded: 0, held: 0 }]);
  lane.configure({ limit: 1_000, foldMs: 0, history: 0 });
  vi.advanceTimersByTime(1_000);
  lane.receive(storm('noisy', 50_000));
  expect(out).toHaveLength(1_301);
});

it('gives Pods past the 4,096th one bucket together, until others have been quiet', () => {
  let now = 0;
  const limiter = new PodLimiter(1, () => now);
  const admit = (pod: string) => limiter.admit(event(0, { pod }));
  for (let pod = 0; pod < 4_096; pod++) expect(admit(`p${pod}`)).toBe(true);
  expect([admit('a'), admit('b'), admit('c')]).toEqual([true, true, false]);
  now = 10_000;
  expect([admit('d'), admit('e'), admit('f')]).toEqual([true, true, true]);
});

it('names the peer of an event before anything else is done with it, as far as it is known at the time', () => {
  const found = { kind: 'pod', namespace: 'shop', name: 'db', ip: '10.0.0.2' } as const;
  lane.receive([event(0, { namespace: 'shop' })]);
  peers = { find: (ip) => (ip === found.ip ? found : undefined), isLocal: () => false, isExternal: undefined };
  const other = event(1, { namespace: 'shop', src: '10.0.0.1:7' });
  lane.receive([other]);
  expect(out.map(({ peer }) => peer)).toEqual([undefined, found]);
  expect(delivered.map(({ json }) => json)).toEqual(out.map((one) => JSON.stringify(one)));
  expect(delivered[1]?.metadata).toMatchObject({ peer_name: 'db' });
});

it('records of another kind are neither folded nor limited, and no event', () => {
  lane.configure({ limit: 1, foldMs: 1_000, history: 100 });
  bus.historyMax = 100;
  const records = [...makeRequests(500), ...makeRequests(500)].map(REQUEST_KIND.toRecord);
  lane.receiveRecords(records);
  lane.receive([event(0)]);
  expect(delivered.slice(0, 1_000)).toEqual(records);
  expect(out).toEqual([event(0)]);
  expect(bus.history({})).toHaveLength(1);
  expect(balance()).toEqual([
    { kind: 'request', probe: 'http', received: 1_000, limited: 0, folded: 0, held: 0 },
    { ...SOURCE, received: 1, limited: 0, folded: 0, held: 0 },
  ]);
});
