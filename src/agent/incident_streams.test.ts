import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { INCIDENT, type Incident } from '#api/incidents.ts';
import type { FoldBy } from '#config/events.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { RecordBus } from '#events/bus.ts';
import { connectionOf } from '#events/connection_id.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { INCIDENT_KIND } from '#events/incident_kind.ts';
import { causeOf } from '#events/incidents/causes.ts';
import type { PeerLookup } from '#peers/peer.ts';
import { PROBES } from '#probes/index.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import {
  type ExpectedIncident,
  expectedIncidents,
  readStream,
  recordedStreams,
} from '../../test/support/incident_streams.ts';
import { Lane } from './lane.ts';

const EXPECTED = Object.entries(expectedIncidents());
const NAMES = new Map([
  ['10.9.1.1', 'client'],
  ['10.9.2.1', 'server'],
]);
const PEERS: PeerLookup = {
  find: (ip) => {
    const name = NAMES.get(ip);
    return name === undefined ? undefined : { kind: 'local', namespace: '', name, ip };
  },
  identify: () => ({ kind: 'unknown', namespace: '', name: '' }),
  isLocal: () => true,
};

interface Replay extends Disposable {
  readonly lane: Lane;
  readonly ledger: Ledger;
  readonly events: EventRecord[];
  readonly incidents: Incident[];
  readonly delivered: LaneRecord[];
}

function open({ foldMs = 0, foldBy = 'service' as FoldBy, limit = 100_000 } = {}): Replay {
  const [bus, incidentBus] = [new RecordBus(EVENT_KIND), new RecordBus(INCIDENT_KIND)];
  const [events, incidents, delivered]: [EventRecord[], Incident[], LaneRecord[]] = [[], [], []];
  bus.follow((records) => events.push(...records.map(({ value }) => value)));
  incidentBus.follow((records) => incidents.push(...records.map(({ value }) => value)));
  const ledger = new Ledger();
  const lane = new Lane({
    node: 'n',
    probes: PROBES,
    ephemeral: DEFAULT_PORT_RANGE,
    ledger,
    bus,
    incidents: incidentBus,
    peers: () => PEERS,
    deliver: (records) => delivered.push(...records),
  });
  lane.configure({ limit, foldMs, foldBy, history: 0 });
  return { lane, ledger, events, incidents, delivered, [Symbol.dispose]: () => lane[Symbol.dispose]() };
}

/** Passes the events to the lane at the times at which they happened. */
function play({ lane }: Replay, events: readonly EventRecord[], after: () => void = () => undefined): void {
  const firstMs = Date.parse(events[0]?.time ?? '');
  const beganMs = performance.now();
  for (const event of events) {
    const dueMs = beganMs + Date.parse(event.time) - firstMs;
    if (dueMs > performance.now()) vi.advanceTimersByTime(dueMs - performance.now());
    lane.receive([event]);
    after();
  }
}

/** Returns the last record of each incident. */
function latest(incidents: readonly Incident[]): Incident[] {
  return [...new Map(incidents.map((one) => [one.id, one])).values()];
}

function told(incidents: readonly Incident[]): ExpectedIncident[] {
  return incidents
    .map(({ cause, dst, protocol }) => ({ cause, port: Number(dst.split(':')[1]), protocol }))
    .sort((one, other) => one.port - other.port);
}

const countOf = (events: readonly EventRecord[]) => events.reduce((sum, { count = 1 }) => sum + count, 0);
const sumOf = (incidents: readonly Incident[]) => incidents.reduce((sum, { count }) => sum + count, 0);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});

afterEach(() => {
  vi.useRealTimers();
});

it('each stream with an expected cause is recorded', () => {
  expect(recordedStreams().sort()).toEqual(EXPECTED.map(([name]) => name).sort());
});

describe.each(EXPECTED)('%s', (name, expected) => {
  const stream = readStream(name);

  it.each([
    [0, 'service'],
    [5_000, 'service'],
    [5_000, 'connection'],
  ] as const)('has the expected cause, folded within %s ms by %s', (foldMs, foldBy) => {
    using replay = open({ foldMs, foldBy });
    play(replay, stream);
    vi.advanceTimersByTime(120_000);
    const ended = replay.incidents.filter(({ state }) => state === 'ended');
    expect(told(ended)).toEqual(expected);
    expect(replay.lane.incidents.open).toBe(0);
    for (const incident of replay.incidents) {
      expect(INCIDENT.parse(incident)).toEqual(incident);
      expect(incident).toMatchObject({ client: { name: 'client' }, server: { name: 'server' } });
    }
  });

  it('has the same cause in any order of arrival', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...stream], { minLength: stream.length }), (events) => {
        using replay = open();
        replay.lane.receive(events);
        expect(told(replay.lane.incidents.list())).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });

  it.each(['client', 'server', 'router'])('has the same cause if the events of the %s arrive first', (pod) => {
    using replay = open();
    const isFirst = (event: EventRecord) => event.pod === pod;
    replay.lane.receive([...stream.filter(isFirst), ...stream.filter((event) => !isFirst(event))]);
    expect(told(replay.lane.incidents.list())).toEqual(expected);
  });

  it.each([
    [0, 100_000],
    [5_000, 100_000],
    [5_000, 1],
  ])('accounts for all events at every moment, folded within %s ms and limited to %s a second', (foldMs, limit) => {
    using replay = open({ foldMs, limit });
    const { ledger, lane, events, incidents, delivered } = replay;
    let received = 0;
    const balance = () => {
      const rows = ledger.before();
      const published = (kind: string) => delivered.filter((record) => record.kind === kind).length;
      const sum = (kind: string, field: 'received' | 'limited' | 'folded' | 'held') =>
        rows.filter((row) => row.kind === kind).reduce((total, row) => total + row[field], 0);
      expect(sum('event', 'received')).toBe(received);
      expect(published('event') + sum('event', 'limited') + sum('event', 'folded') + sum('event', 'held')).toBe(
        received,
      );
      expect(published('incident')).toBe(sum('incident', 'received'));
      expect(incidents).toHaveLength(published('incident'));
    };
    play(replay, stream, () => {
      received++;
      balance();
    });
    vi.advanceTimersByTime(120_000);
    balance();
    const isMember = (event: EventRecord) => connectionOf(event, undefined, DEFAULT_PORT_RANGE) && causeOf(event);
    const members = stream.filter(isMember);
    const ended = latest(incidents);
    expect(sumOf(ended) + lane.incidents.leftOut).toBe(members.length);
    if (limit > 1) expect(countOf(events)).toBe(stream.length);
    for (const { count, events: types } of ended) {
      expect(Object.values(types).reduce((sum, one) => sum + one, 0)).toBe(count);
    }
  });

  it('does not change the events', () => {
    using replay = open();
    play(replay, stream);
    const added = new Set(['connectionId', 'peer', 'srcOwner', 'dstOwner']);
    const own = (event: EventRecord) => Object.fromEntries(Object.entries(event).filter(([name]) => !added.has(name)));
    expect(replay.events.map(own)).toEqual(stream);
  });
});
