import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { RecordBus } from '#events/bus.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { INCIDENT_KIND } from '#events/incident_kind.ts';
import { PodLimiter } from '#events/limiter.ts';
import type { PolicyJudge } from '#events/policies/judge.ts';
import type { PeerLookup } from '#peers/peer.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { PROBES } from '#probes/index.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { makeEvents } from '../../test/support/event_lines.ts';
import { makeRequests, REQUEST_KIND } from '../../test/support/request_kind.ts';
import { Lane } from './lane.ts';

let bus: RecordBus<EventRecord>;
let ledger: Ledger;
let lane: Lane;
let out: EventRecord[];
let delivered: LaneRecord[];
let peers: PeerLookup | undefined;
let judge: PolicyJudge['judge'];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  bus = new RecordBus(EVENT_KIND);
  out = [];
  delivered = [];
  peers = undefined;
  judge = () => undefined;
  bus.follow((events) => out.push(...events.map(({ value }) => value)));
  ledger = new Ledger();
  lane = new Lane({
    node: 'n',
    probes: PROBES,
    ephemeral: DEFAULT_PORT_RANGE,
    ledger,
    bus,
    incidents: new RecordBus(INCIDENT_KIND),
    peers: () => peers,
    policies: () => ({ judge: (...asked) => judge(...asked) }),
    deliver: (records) => delivered.push(...records),
  });
  lane.configure({ limit: 100, foldMs: 1_000, foldBy: 'service', history: 0 });
});

afterEach(() => {
  lane[Symbol.dispose]();
  vi.useRealTimers();
});

/** Returns an event whose time is this number of nanoseconds after the hour. */
function event(at: number, more: Partial<EventRecord> = {}): EventRecord {
  const [made] = makeEvents(1, { pod: 'cart', reason: 'NO_SOCKET', src: '10.0.0.1:1', dst: '10.0.0.2:2', ...more }, at);
  if (made === undefined) throw new Error('none made');
  return made;
}

const SOURCE = { kind: 'event', probe: 'packetloss' };
const balance = () => ledger.before().filter(({ kind }) => kind !== 'incident');

it('has a timer only while it compares events', () => {
  expect(vi.getTimerCount()).toBe(0);
  lane.receive([event(0), event(1)]);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(1_250);
  expect(out).toHaveLength(2);
  // A window with events is followed by another window. This one ends without events.
  vi.advanceTimersByTime(1_250);
  expect(vi.getTimerCount()).toBe(0);
  lane.receive([event(2)]);
  lane.configure({ limit: 100, foldMs: 0, foldBy: 'service', history: 0 });
  expect(vi.getTimerCount()).toBe(0);
});

it('sends the first of equal events, and at the end of the window one that stands for the rest', () => {
  const events = Array.from({ length: 10 }, (_, at) => event(at));
  lane.receive(events);
  expect(out).toEqual([events[0]]);
  expect(balance()).toEqual([{ ...SOURCE, received: 10, limited: 0, folded: 8, held: 1 }]);
  vi.advanceTimersByTime(1_250);
  const second = { ...events[9], count: 9, firstTime: events[1]?.time, lastTime: events[9]?.time };
  expect(out).toEqual([events[0], second]);
  expect(balance()).toEqual([{ ...SOURCE, received: 10, limited: 0, folded: 8, held: 0 }]);
  // The window stays open, because the same event occurs again.
  lane.receive([event(20)]);
  expect(out).toHaveLength(2);
  vi.advanceTimersByTime(1_250);
  // A folded event has no count if it stands only for itself.
  expect(out[2]).toEqual(event(20));
  vi.advanceTimersByTime(1_250);
  lane.receive([event(30)]);
  expect(out[3]).toEqual(event(30));
});

it.each([
  ['a field that the type names', { reason: 'NETFILTER_DROP' }],
  ['a port that no kernel chose', { src: '10.0.0.1:9' }],
  ['the namespace', { netns: '2' }],
  ['the protocol', { protocol: 'udp' }],
  ['the type', { probe: 'tcpreset', type: 'tcp_reset' }],
])('events that differ in %s are not equal', (_, other) => {
  lane.receive([event(0), event(1, other)]);
  expect(out).toHaveLength(2);
});

it('events that differ only in fields that their type does not name are equal', () => {
  lane.receive([event(0, { length: 60 }), event(1, { length: 1_500, pid: 7 })]);
  expect(out).toHaveLength(1);
});

/** Returns a failed DNS lookup from an ephemeral port. */
function lookup(at: number, more: Partial<EventRecord> = {}): EventRecord {
  return event(at, { src: `10.0.0.1:${40_000 + at}`, dst: '10.96.0.10:53', protocol: 'udp', ...more });
}

/** Returns an event as it is sent: with the ID of its connection. */
function identified(sent: object | undefined): object {
  return { ...sent, connectionId: expect.stringMatching(/^[\w-]{8}$/) };
}

function fold(events: readonly EventRecord[]): void {
  lane.receive(events);
  vi.advanceTimersByTime(1_250);
}

describe('by service', () => {
  const PORTS = Array.from({ length: 16 }, (_, at) => 40_001 + at);

  it('twenty failed lookups become the first, and one that stands for the rest, with the ports', () => {
    const events = Array.from({ length: 20 }, (_, at) => lookup(at));
    fold(events);
    const rest = { count: 19, ports: PORTS, morePorts: 3, firstTime: events[1]?.time, lastTime: events[19]?.time };
    expect(out).toEqual([identified(events[0]), identified({ ...events[19], ...rest })]);
    expect(balance()).toEqual([{ ...SOURCE, received: 20, limited: 0, folded: 18, held: 0 }]);
  });

  it('lost answers are folded in the same way', () => {
    fold([0, 1, 2].map((at) => lookup(at, { src: '10.96.0.10:53', dst: `[fd00::1]:${40_000 + at}` })));
    expect(out.slice(1)).toMatchObject([{ count: 2, ports: [40_001, 40_002] }]);
  });

  it('lists no ports if they are all the same', () => {
    fold([lookup(0), lookup(0), lookup(0)]);
    expect(out[1]).toMatchObject({ count: 2 });
    expect(out[1]).not.toHaveProperty('ports');
  });

  it('lists no more ports than it keeps', () => {
    fold(Array.from({ length: 500 }, (_, at) => lookup(at)));
    expect(out[1]).toMatchObject({ count: 499, ports: PORTS, morePorts: 240 });
  });

  it.each([
    ['the service', { dst: '10.96.0.10:54' }],
    ['the address of the service', { dst: '10.96.0.11:53' }],
    ['the address of the client', { src: '10.0.0.2:40001' }],
    ['the direction', { src: '10.96.0.10:53', dst: '10.0.0.1:40001' }],
  ])('is not equal where %s differs', (_, other) => {
    lane.receive([lookup(0), lookup(1, other)]);
    expect(out).toHaveLength(2);
  });

  it("learns which end is the client if both ports may be a client's: the one that changes", () => {
    const between = (client: number, service: number) =>
      lookup(0, { src: `10.0.0.1:${client}`, dst: `10.0.0.2:${service}` });
    lane.receive([between(40_000, 50_051), between(40_000, 50_051), between(40_001, 50_051)]);
    expect(out).toHaveLength(1);
    // The lane has found that 50051 is the service's port, so another port belongs to another service.
    lane.receive([between(40_000, 50_052)]);
    expect(out).toHaveLength(2);
    lane.receive([between(40_002, 50_051)]);
    vi.advanceTimersByTime(1_250);
    expect(out.slice(2)).toMatchObject([{ count: 3, ports: [40_000, 40_001, 40_002] }]);
    // In the next window, the lane still uses the service's port that it has found.
    lane.receive([between(40_003, 50_051), between(40_000, 50_053)]);
    expect(out.slice(3)).toMatchObject([{ dst: '10.0.0.2:50053' }]);
  });

  it('uses what the event says where both ends could be the client', () => {
    const syn = { probe: 'tcpretrans', type: 'tcp_retransmit', kind: 'syn', state: 'SYN_SENT', protocol: 'tcp' };
    const retransmit = (at: number, more = {}) => lookup(at, { ...syn, dst: '10.0.0.2:50051', ...more });
    fold([retransmit(0), retransmit(1), retransmit(2)]);
    expect(out.slice(1)).toMatchObject([{ count: 2, ports: [40_001, 40_002] }]);
    lane.receive([retransmit(0, { dst: '10.0.0.2:50052' })]);
    expect(out).toHaveLength(3);
    const refused = { probe: 'tcpreset', type: 'tcp_reset', reason: 'x', protocol: 'tcp', state: 'SYN_SENT' };
    const reset = (at: number) =>
      lookup(0, { ...refused, direction: 'received', src: '10.0.0.2:40000', dst: `10.0.0.1:${50_000 + at}` });
    fold([reset(0), reset(1)]);
    expect(out.slice(3)).toMatchObject([{ dst: '10.0.0.1:50000' }, { dst: '10.0.0.1:50001' }]);
    expect(out[4]).not.toHaveProperty('count');
  });
});

describe('packets in a tunnel', () => {
  /** The source port of VXLAN depends on the connection in the tunnel. */
  const inTunnel = (at: number, more: Partial<EventRecord> = {}) =>
    event(at, {
      ...{ pod: '', protocol: 'udp', src: `192.168.0.1:${50_000 + at}`, dst: '192.168.0.2:4789' },
      ...{ tunnel: 'vxlan', tunnelId: 7, innerProtocol: 'tcp' },
      ...{ innerSrc: `10.0.0.1:${40_000 + at}`, innerDst: '10.0.1.2:8080', ...more },
    });

  it('are folded by the service in the tunnel, with the client ports of the inner connections', () => {
    lane.receive([inTunnel(0), inTunnel(1), inTunnel(2), inTunnel(3)]);
    vi.advanceTimersByTime(1_250);
    expect(out).toHaveLength(2);
    expect(out[1]).toMatchObject({ count: 3, ports: [40_001, 40_002, 40_003], innerDst: '10.0.1.2:8080' });
    expect(out[1]?.connectionId).toBe(out[0]?.connectionId);
  });

  it.each([
    ['another service', { innerDst: '10.0.1.2:8081' }],
    ['another tunnel', { tunnelId: 8 }],
    ['another node', { dst: '192.168.0.3:4789' }],
  ])('are told apart by %s', (_, other) => {
    lane.receive([inTunnel(0), inTunnel(0, other)]);
    expect(out).toHaveLength(2);
  });

  it('have the ID of the connection that the Pods see, which the node does not see', () => {
    const outside = { sentBy: 'client', connectionClient: '192.168.0.1:50000', connectionServer: '192.168.0.2:4789' };
    lane.receive([inTunnel(0), event(1, { protocol: 'tcp', src: '10.0.0.1:41000', dst: '10.0.1.2:8080' })]);
    expect(new Set(out.map(({ connectionId }) => connectionId)).size).toBe(1);
    lane.receive([event(2, { ...outside, protocol: 'udp', src: '192.168.0.1:50000', dst: '192.168.0.2:4789' })]);
    expect(out[2]?.connectionId).not.toBe(out[0]?.connectionId);
  });
});

describe('by connection', () => {
  beforeEach(() => lane.configure({ limit: 100, foldMs: 1_000, foldBy: 'connection', history: 0 }));

  it('each port is another connection', () => {
    fold(Array.from({ length: 20 }, (_, at) => lookup(at)));
    expect(out).toHaveLength(20);
    fold([lookup(30), lookup(30), lookup(30)]);
    expect(out.slice(20)).toEqual([
      identified(lookup(30)),
      identified({ ...lookup(30), count: 2, firstTime: lookup(30).time, lastTime: lookup(30).time }),
    ]);
  });

  it('takes effect after the held events are sent', () => {
    fold([lookup(0), lookup(1)]);
    lane.configure({ limit: 100, foldMs: 1_000, foldBy: 'service', history: 0 });
    lane.receive([lookup(2), lookup(3), lookup(4)]);
    lane.configure({ limit: 100, foldMs: 1_000, foldBy: 'connection', history: 0 });
    expect(out.at(-1)).toMatchObject({ count: 2, ports: [40_003, 40_004] });
    expect(balance()[0]?.held).toBe(0);
  });
});

it('names only existing fields', () => {
  for (const probe of PROBES) {
    for (const { equalBy, fields } of Object.values<EventDescriptor>(probe.events)) {
      expect(Object.keys(fields)).toEqual(expect.arrayContaining([...equalBy]));
    }
  }
});

it('sends held events when folding is switched off, and when the agent ends', () => {
  lane.receive([event(0), event(1), event(2)]);
  lane.configure({ limit: 100, foldMs: 0, foldBy: 'service', history: 0 });
  expect(out.map(({ count }) => count)).toEqual([undefined, 2]);
  lane.receive([event(3), event(4)]);
  expect(out).toHaveLength(4);
  lane.configure({ limit: 100, foldMs: 1_000, foldBy: 'service', history: 0 });
  lane.receive([event(5), event(6)]);
  lane[Symbol.dispose]();
  expect(out).toHaveLength(6);
  expect(balance()[0]?.held).toBe(0);
});

it('keeps no more windows than its limit, and counts the events without a window', () => {
  lane.configure({ limit: 100_000, foldMs: 1_000, foldBy: 'service', history: 0 });
  lane.receive(Array.from({ length: 10_100 }, (_, at) => event(at, { src: `10.0.${at >> 8}.${at & 255}:9` })));
  expect(out).toHaveLength(10_100);
  expect(lane.unfolded).toBe(100);
});

it('limits each Pod on its own, and counts the omitted events', () => {
  lane.configure({ limit: 100, foldMs: 0, foldBy: 'service', history: 0 });
  const storm = (pod: string, count: number) => Array.from({ length: count }, (_, at) => event(at, { pod }));
  lane.receive(storm('noisy', 50_000));
  expect(out).toHaveLength(200);
  lane.receive(storm('quiet', 1));
  expect(out).toHaveLength(201);
  vi.advanceTimersByTime(1_000);
  lane.receive(storm('noisy', 50_000));
  expect(out).toHaveLength(301);
  expect(balance()).toEqual([{ ...SOURCE, received: 100_001, limited: 99_700, folded: 0, held: 0 }]);
  lane.configure({ limit: 1_000, foldMs: 0, foldBy: 'service', history: 0 });
  vi.advanceTimersByTime(1_000);
  lane.receive(storm('noisy', 50_000));
  expect(out).toHaveLength(1_301);
});

it('gives Pods beyond the 4,096th one shared bucket, until others have been quiet', () => {
  let now = 0;
  const limiter = new PodLimiter(1, () => now);
  const admit = (pod: string) => limiter.admit(event(0, { pod }));
  for (let pod = 0; pod < 4_096; pod++) expect(admit(`p${pod}`)).toBe(true);
  expect([admit('a'), admit('b'), admit('c')]).toEqual([true, true, false]);
  now = 10_000;
  expect([admit('d'), admit('e'), admit('f')]).toEqual([true, true, true]);
});

it('names the peer of an event before all other stages, as far as it is known at the time', () => {
  const found = { kind: 'pod', namespace: 'shop', name: 'db', ip: '10.0.0.2' } as const;
  lane.receive([event(0, { namespace: 'shop' })]);
  peers = {
    find: (ip) => (ip === found.ip ? found : undefined),
    identify: () => ({ kind: 'unknown', namespace: '', name: '' }),
    isLocal: () => false,
  };
  const other = event(1, { namespace: 'shop', src: '10.0.0.1:7' });
  lane.receive([other]);
  expect(out.map(({ peer }) => peer)).toEqual([undefined, found]);
  expect(delivered.map(({ json }) => json)).toEqual(out.map((one) => JSON.stringify(one)));
  expect(delivered[1]?.metadata).toMatchObject({ peer_name: 'db' });
});

it('records of another kind are neither folded nor limited, and are not events', () => {
  lane.configure({ limit: 1, foldMs: 1_000, foldBy: 'service', history: 100 });
  bus.historyMax = 100;
  const records = [...makeRequests(500), ...makeRequests(500)].map(REQUEST_KIND.toRecord);
  lane.receiveRecords(records);
  lane.receive([event(0)]);
  expect(delivered.slice(0, 1_000)).toEqual(records);
  expect(out).toEqual([event(0)]);
  expect(bus.history()).toHaveLength(1);
  expect(balance()).toEqual([
    { kind: 'request', probe: 'http', received: 1_000, limited: 0, folded: 0, held: 0 },
    { ...SOURCE, received: 1, limited: 0, folded: 0, held: 0 },
  ]);
});

it('an event that waits for a verdict is held, and has the verdict in its incident as well', async () => {
  const verdict = { policy: 'ingress denied: p', policyVerdict: 'denied', policySure: 'seen' } as const;
  const { promise, resolve } = Promise.withResolvers<typeof verdict>();
  judge = () => promise;
  const drop = event(0, { protocol: 'tcp', reason: 'NETFILTER_DROP' });
  lane.receive([drop]);
  expect(out).toEqual([]);
  expect(balance()).toEqual([{ ...SOURCE, received: 1, limited: 0, folded: 0, held: 1 }]);
  resolve(verdict);
  await promise;
  await Promise.resolve();
  expect(out).toEqual([identified({ ...drop, ...verdict })]);
  expect(balance()).toEqual([{ ...SOURCE, received: 1, limited: 0, folded: 0, held: 0 }]);
  const [incident] = lane.incidents.list();
  expect(incident).toMatchObject({ cause: 'firewall', policy: verdict.policy });
  expect(incident?.message).toContain('drops the packets; ingress denied: p (1 event)');
});
