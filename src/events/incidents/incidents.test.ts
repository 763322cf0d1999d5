import { beforeEach, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { Incident } from '#api/incidents.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { makeEvents } from '../../../test/support/event_lines.ts';
import { connectionOf } from '../connection_id.ts';
import { Incidents, OPEN_MAX } from './incidents.ts';

let now: number;
let sent: Incident[];
let incidents: Incidents;

beforeEach(() => {
  now = 0;
  sent = [];
  incidents = new Incidents({ node: 'n', peers: () => undefined, send: (some) => sent.push(...some), now: () => now });
});

const ENDS = { src: '10.0.0.1:40000', dst: '10.0.0.2:8080', protocol: 'tcp' };
const SYN = { ...ENDS, probe: 'tcpretrans', type: 'tcp_retransmit', kind: 'syn' };
const DROP = { ...ENDS, reason: 'NETFILTER_DROP', symbol: 'nft_do_chain+0x1' };

function take(more: Partial<EventRecord>, at = 0): void {
  const [event] = makeEvents(1, more, at);
  if (event !== undefined) incidents.take(event, connectionOf(event, undefined, DEFAULT_PORT_RANGE));
}

function pass(ms: number): void {
  now += ms;
  incidents.sweep();
}

const told = () => sent.map(({ state, cause, count }) => `${state} ${cause} ${count}`);

it('is sent after a second, for a stronger cause, and when it ends', () => {
  take(SYN);
  pass(999);
  expect(sent).toEqual([]);
  pass(1);
  expect(told()).toEqual(['open no_answer 1']);
  take(SYN);
  pass(1_000);
  expect(sent).toHaveLength(1);
  take(DROP);
  pass(250);
  expect(told()).toEqual(['open no_answer 1', 'open firewall 3']);
  take({ ...DROP, count: 5 });
  pass(29_999);
  expect(incidents.open).toBe(1);
  pass(1);
  expect(told().at(-1)).toBe('ended firewall 8');
  expect(incidents.open).toBe(0);
  expect([...incidents.totals]).toEqual([
    ['no_answer', 1],
    ['firewall', 1],
  ]);
  expect(new Set(sent.map(({ id }) => id)).size).toBe(1);
});

it('does not end before the windows of folded events do', () => {
  incidents.foldMs = 60_000;
  take(SYN);
  pass(119_999);
  expect(incidents.open).toBe(1);
  pass(1);
  expect(incidents.open).toBe(0);
});

it('counts ports and types, and says who is involved', () => {
  take({ ...DROP, ports: [40_000, 40_001], count: 2 });
  take({ ...SYN, src: '10.0.0.1:40002' }, 5);
  const [incident] = incidents.list();
  expect(incident).toMatchObject({
    ports: 3,
    count: 3,
    events: { packet_drop: 2, tcp_retransmit: 1 },
    src: '10.0.0.1',
    dst: '10.0.0.2:8080',
    message:
      'From 10.0.0.1 to 10.0.0.2 (tcp/8080): a firewall or network policy drops the packets (3 events of 3 connections).',
  });
});

it('ignores events in which nothing was lost, and those without a connection', () => {
  take({ ...SYN, severity: 'info' });
  take({ ...DROP, protocol: 'icmp', src: '10.0.0.1', dst: '10.0.0.2' });
  take({ ...ENDS, type: 'socket_read_slow' });
  expect(incidents.open).toBe(0);
});

it('ignores network namespaces without an owner, also as evidence about others', () => {
  const unowned = { namespace: null, pod: null };
  take({ ...DROP, ...unowned });
  expect(incidents.open).toBe(0);
  take(SYN);
  take({ ...DROP, ...unowned });
  take({ type: 'accept_queue_full', address: '10.0.0.2', port: 8080, protocol: 'tcp', netns: '2', ...unowned });
  expect(incidents.list()).toMatchObject([{ cause: 'no_answer', count: 1 }]);
});

describe('with translated addresses', () => {
  const translated = {
    ...DROP,
    sentBy: 'client',
    connectionClient: '10.0.0.1:40000',
    connectionServer: '10.0.0.2:8080',
    connectionService: '10.96.0.1:80',
  };

  it('the events of the client belong to the incident of the server', () => {
    take(translated);
    take({ ...SYN, dst: '10.96.0.1:80' });
    expect(incidents.list()).toMatchObject([{ dst: '10.0.0.2:8080', count: 2, cause: 'firewall' }]);
    expect(incidents.list()[0]?.connectionIds).toHaveLength(2);
  });
});

describe('a full accept queue', () => {
  const FULL = { type: 'accept_queue_full', address: '0.0.0.0', port: 8080, protocol: 'tcp', netns: '2' };

  it('explains missing answers of its own namespace and address only', () => {
    take({ ...SYN, netns: '2' });
    take({ ...SYN, netns: '3', dst: '10.0.0.9:8080' });
    take({ ...SYN, netns: '2', dst: '10.0.0.2:8081' });
    take(FULL);
    expect(incidents.list().map(({ cause }) => cause)).toEqual(['accept_queue', 'no_answer', 'no_answer']);
    take({ ...FULL, netns: '4', address: '10.0.0.9' });
    expect(incidents.list()[1]?.cause).toBe('accept_queue');
  });

  it('does not explain a connection whose SYN a firewall drops', () => {
    take(FULL);
    take({ ...DROP, netns: '2' });
    take({ ...SYN, netns: '2' });
    expect(incidents.list()[0]?.cause).toBe('firewall');
    take({ ...SYN, kind: 'rto', netns: '2' });
    expect(incidents.list()[0]?.cause).toBe('accept_queue');
  });

  it('explains nothing that happened long after', () => {
    const at = (time: string) => ({ time: `2026-01-01T00:00:${time}.000000000Z` });
    take({ ...FULL, ...at('00') });
    take({ ...SYN, netns: '2', ...at('11') });
    expect(incidents.list()[0]?.cause).toBe('no_answer');
    take({ ...SYN, netns: '2', ...at('09') });
    expect(incidents.list()[0]?.cause).toBe('accept_queue');
  });
});

it('a full table of connection tracking explains only packets that are not tracked', () => {
  const dropped = { ...DROP, symbol: 'nf_hook_slow+0x1', netns: '2' };
  take({ type: 'conntrack_pressure', netns: '2', drops: 3 });
  take(dropped);
  take({ ...dropped, dst: '10.0.0.2:8081', sentBy: 'client' });
  take({ ...dropped, dst: '10.0.0.2:8082', netns: '3' });
  take({ ...DROP, dst: '10.0.0.2:8083', netns: '2' });
  expect(incidents.list().map(({ cause }) => cause)).toEqual(['conntrack_full', 'firewall', 'firewall', 'firewall']);
});

it('keeps no more incidents than its limit, and counts the events of others', () => {
  for (let nth = 0; nth < 10_000; nth++) {
    take({ ...DROP, pod: `web-${nth}`, src: `10.1.${nth >> 8}.${nth & 255}:40000`, count: 2 });
  }
  expect(incidents.open).toBe(OPEN_MAX);
  expect(incidents.leftOut).toBe(2 * (10_000 - OPEN_MAX));
  pass(1_000);
  expect(sent).toHaveLength(OPEN_MAX);
  pass(30_000);
  expect(sent).toHaveLength(2 * OPEN_MAX);
  expect(incidents.open).toBe(0);
  take(DROP);
  expect(incidents.open).toBe(1);
});

it('leaves room for others if one Pod is in trouble with thousands of servers', () => {
  const scan = (pod: string) => {
    for (let nth = 0; nth < 10_000; nth++) take({ ...SYN, pod, dst: `10.1.${nth >> 8}.${nth & 255}:80` });
  };
  scan('scanner');
  expect(incidents.open).toBe(OPEN_MAX / 2);
  expect(incidents.leftOut).toBe(10_000 - OPEN_MAX / 2);
  take({ ...DROP, pod: 'web' });
  expect(incidents.open).toBe(OPEN_MAX / 2 + 1);
  pass(30_000);
  expect(incidents.open).toBe(0);
  scan('scanner');
  expect(incidents.open).toBe(OPEN_MAX / 2);
});

it('sends what has changed when the agent ends', () => {
  take(SYN);
  pass(1_000);
  take({ ...SYN, dst: '10.0.0.2:8081' });
  incidents[Symbol.dispose]();
  expect(sent.map(({ dst, state }) => `${dst} ${state}`)).toEqual(['10.0.0.2:8080 open', '10.0.0.2:8081 open']);
});
