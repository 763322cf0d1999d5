import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { Incident } from '#api/incidents.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { makeEvents } from '../../../test/support/event_lines.ts';
import { connectionOf } from '../connection_id.ts';
import { Incidents } from './incidents.ts';
import type { ServerCounters } from './server_counters.ts';

const SYN = { probe: 'tcpretrans', type: 'tcp_retransmit', kind: 'syn', protocol: 'tcp', src: '10.0.0.1:40000' };
const SERVER = '10.0.0.2';

let now: number;
let counters: ServerCounters | undefined;
let read: string[];
let sent: Incident[];
let incidents: Incidents;

beforeEach(() => {
  now = 0;
  counters = { overflows: 5, drops: 7, noRoutes: 3 };
  read = [];
  sent = [];
  incidents = new Incidents({
    node: 'n',
    peers: () => undefined,
    counters: async (address) => {
      read.push(address);
      return counters;
    },
    send: (some) => sent.push(...some),
    now: () => now,
  });
});

afterEach(() => incidents[Symbol.dispose]());

function take(more: Partial<EventRecord> = {}): void {
  const [event] = makeEvents(1, { ...SYN, dst: `${SERVER}:80`, ...more });
  if (event !== undefined) incidents.take(event, connectionOf(event, undefined, DEFAULT_PORT_RANGE));
}

async function pass(ms: number): Promise<void> {
  for (const endMs = now + ms; now < endMs; ) {
    now += 250;
    incidents.sweep();
    await turn();
  }
}

const causes = () => sent.map(({ state, cause }) => `${state} ${cause}`);

it.each([
  ['accept_queue', { overflows: 6, drops: 8, noRoutes: 3 }],
  ['accept_queue', { overflows: 6, drops: 8, noRoutes: 4 }],
  ['route', { overflows: 5, drops: 8, noRoutes: 4 }],
  ['no_answer', { overflows: 5, drops: 8, noRoutes: 3 }],
  ['no_answer', { overflows: 5, drops: 7, noRoutes: 4 }],
])('is said to be %s if the counters are %j', async (cause, grown) => {
  take();
  await turn();
  counters = grown;
  await pass(1_250);
  await pass(2_000);
  expect(causes()).toEqual([`open ${cause}`]);
});

it('waits for three seconds at most before it says that there is no answer', async () => {
  take();
  await pass(2_750);
  expect(sent).toEqual([]);
  await pass(250);
  expect(causes()).toEqual(['open no_answer']);
  counters = { overflows: 9, drops: 11, noRoutes: 3 };
  await pass(4_000);
  expect(causes()).toEqual(['open no_answer', 'open accept_queue']);
});

it('reads a few times for an incident, and then never again', async () => {
  take();
  for (let seconds = 0; seconds < 60; seconds += 20) {
    take();
    await pass(20_000);
  }
  expect(read).toEqual(Array(5).fill(SERVER));
});

it('does not wait for the counters of a server that is not on this node', async () => {
  counters = undefined;
  take();
  await pass(1_250);
  expect(causes()).toEqual(['open no_answer']);
  await pass(20_000);
  expect(read).toHaveLength(2);
});

it('reads no counters if the events show a cause, or the protocol has no answers', async () => {
  take({ type: 'packet_drop', reason: 'NETFILTER_DROP', symbol: 'nft_do_chain' });
  take({ type: 'tcp_retransmit', kind: 'rto', dst: '10.0.0.3:80' });
  await pass(1_000);
  expect(read).toEqual([]);
  expect(causes()).toEqual(['open firewall', 'open loss']);
});

it('incidents of a server share readings, and all readings are limited', async () => {
  for (let nth = 0; nth < 300; nth++) take({ src: `10.1.${nth >> 8}.${nth & 255}:40000` });
  await turn();
  expect(read).toHaveLength(1);
  for (let nth = 0; nth < 200; nth++) take({ dst: `10.2.0.${nth}:80`, pod: `web-${nth}` });
  await pass(10_000);
  expect(read.length).toBeLessThanOrEqual(40 + 10 * 20);
  expect(read.length).toBeGreaterThan(200);
});

it('leaves the queue of a port alone if another one is known to be full', async () => {
  take({ type: 'accept_queue_full', address: SERVER, port: 81, netns: '2' });
  take();
  await turn();
  counters = { overflows: 6, drops: 8, noRoutes: 3 };
  await pass(3_000);
  expect(causes()).toEqual(['open no_answer']);
});
