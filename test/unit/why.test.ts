import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Evidence } from '#why/evidence.ts';
import { why } from '#why/why.ts';
import { ofClient, ofNobody } from '../support/reach/table.ts';

interface Recorded {
  readonly cause: string;
  readonly sure: string;
  readonly evidence: Evidence;
}

const read = (name: string): Readonly<Record<string, Recorded>> =>
  JSON.parse(readFileSync(new URL(`../fixtures/reach/${name}.json`, import.meta.url), 'utf8'));

const RECORDED = Object.entries({ ...read('in_sample'), ...read('held_out') });

describe('with the agents of both ends', () => {
  it.each(RECORDED)('%s', (_, { cause, sure, evidence }) => {
    const found = why(evidence);
    expect([found.cause, found.sure]).toEqual([cause, sure]);
    expect(found.text).not.toBe('');
  });
});

describe('with less evidence, a cause that is seen is never wrong', () => {
  it.each(RECORDED)('%s', (_, { cause, evidence }) => {
    const isRight = (part: Evidence) => {
      const found = why(part);
      if (found.sure === 'seen') expect([found.cause, part.events.length]).toEqual([cause, part.events.length]);
    };
    isRight(ofClient(evidence));
    isRight({ ...evidence, events: [], growth: [], nodes: [] });
    for (const left of evidence.events) isRight({ ...evidence, events: evidence.events.filter((one) => one !== left) });
    for (const left of evidence.growth) isRight({ ...evidence, growth: evidence.growth.filter((one) => one !== left) });
    for (const only of evidence.events) isRight({ ...evidence, events: [only], growth: [] });
  });
});

it.each([
  ['the agent of the client', ofClient, []],
  ['no agent', ofNobody, ['rejected by a reset at the router']],
])('with %s, hardly anything is inferred wrongly', (_, view, expected) => {
  const wrong = RECORDED.filter(([, { cause, evidence }]) => {
    const found = why(view(evidence));
    return found.sure === 'inferred' && found.cause !== cause;
  });
  expect(wrong.map(([name]) => name)).toEqual(expected);
});

it('the order in which events arrive does not matter', () => {
  for (const [name, { cause, evidence }] of RECORDED) {
    const found = why({ ...evidence, events: evidence.events.toReversed() });
    expect([name, found.cause]).toEqual([name, cause]);
  }
});

describe('a firewall', () => {
  const { evidence } = read('in_sample')['dropped at the router'] as Recorded;

  it('is followed by the advice to trace, until a trace was made', () => {
    expect(why(evidence).advice).toMatch(/--rules/);
    const { text, advice } = why({ ...evidence, isTraced: true, rule: 'rule 1 of chain c' });
    expect(text).toMatch(/; rule: rule 1 of chain c$/);
    expect(advice).toBe('Find the policy with `netsonde policy`.');
    expect(why({ ...evidence, isTraced: true }).advice).not.toMatch(/--rules/);
  });

  it('that is no rule of netfilter cannot be traced', () => {
    const events = evidence.events.map((event) =>
      event.type === 'packet_drop' ? { ...event, reason: 'TC_INGRESS', symbol: '__netif_receive_skb_core' } : event,
    );
    expect(why({ ...evidence, events })).toMatchObject({
      cause: 'firewall',
      advice: expect.not.stringMatching(/--rules/),
    });
  });

  it('has dropped at least one packet, if the agent has folded it with those of others', () => {
    const events = evidence.events
      .filter(({ type }) => type === 'packet_drop')
      .slice(0, 1)
      .map((event) => ({ ...event, count: 3, least: 1 }));
    expect(why({ ...evidence, events }).text).toContain(': at least 1 packet of the client dropped at ');
  });
});

describe('a dropped packet that arrived after all', () => {
  const [local, server] = ['10.1.1.2:40000', '10.1.2.2:8080'];
  const trial = {
    protocol: 'tcp',
    host: '10.1.2.2',
    ip: '10.1.2.2',
    port: 8080,
    local,
    localIp: '10.1.1.2',
    names: [],
    stage: 'http',
    errno: 'ETIMEDOUT',
  } as const;
  const event = { severity: 'warning', time: '2026-12-01T04:19:36Z', node: 'n1', namespace: '' };
  const dropAt = (pod: string, src: string, dst: string, protocol = 'tcp') => ({
    ...event,
    type: 'packet_drop',
    pod,
    src,
    dst,
    protocol,
    reason: 'NETFILTER_DROP',
    symbol: 'nft_do_chain',
  });
  const resent = (pod: string, src: string, dst: string, state: string) => ({
    ...event,
    type: 'tcp_retransmit',
    pod,
    src,
    dst,
    protocol: 'tcp',
    state,
  });
  const grown = (role: 'client' | 'server', counters: Readonly<Record<string, number>> = {}) => ({
    place: role,
    role,
    grown: counters,
    hasConntrack: true,
  });
  const told = (evidence: Partial<Evidence>) => {
    const { sure, cause } = why({ trial, events: [], growth: [], nodes: ['n1'], ...evidence });
    return `${sure} ${cause}`;
  };
  const both = [grown('client'), grown('server')];

  it('is a copy that a router has made', () => {
    const events = [dropAt('mirror', local, server)];
    expect(told({ events, growth: both })).toBe('inferred server_silent');
    expect(told({ events, growth: [grown('server')] })).toBe('inferred firewall');
    const udp = { ...trial, protocol: 'udp', stage: 'connect' } as const;
    const growth = [grown('client'), grown('server', { 'Udp.InDatagrams': 1 })];
    expect(told({ trial: udp, events: [dropAt('mirror', local, server, 'udp')], growth })).toBe('inferred firewall');
  });

  it('is a SYN of a connection that was established', () => {
    const events = [dropAt('router', local, server), resent('client', local, server, 'SYN_SENT')];
    const growth = [grown('client', { 'Tcp.RetransSegs': 1, 'TcpExt.TCPSynRetrans': 1 }), grown('server')];
    expect(told({ events, growth })).toBe('inferred server_silent');
  });

  it('is none if its sender retransmits data, or if an end itself drops it', () => {
    const drop = dropAt('router', local, server);
    expect(told({ events: [drop, resent('client', local, server, 'ESTABLISHED')], growth: both })).toBe(
      'seen firewall',
    );
    expect(told({ events: [drop], growth: [grown('client', { 'Tcp.RetransSegs': 3 })] })).toBe('seen firewall');
    const answer = dropAt('client', server, local);
    expect(told({ events: [answer], growth: [grown('client')] })).toBe('seen firewall');
  });

  it('leaves nothing lost only if nobody retransmits', () => {
    expect(told({ growth: [grown('client'), grown('server', { 'Tcp.RetransSegs': 6 })] })).toBe('unknown lost');
    expect(told({ events: [resent('server', server, local, 'CLOSE_WAIT')], growth: both })).toBe('unknown lost');
    expect(told({ growth: both })).toBe('inferred server_silent');
    expect(told({ events: [resent('server', server, local, 'NEW_SYN_RECV')], growth: both })).toBe('unknown lost');
    // The client cannot tell a server that does not respond from one whose responses are lost.
    expect(told({ growth: [grown('client')] })).toBe('unknown no_answer');
    expect(told({ nodes: [] })).toBe('unknown no_answer');
  });
});

describe('counters of a namespace count the packets of all clients and ports', () => {
  const trial = {
    protocol: 'tcp',
    host: '10.1.2.2',
    ip: '10.1.2.2',
    port: 8080,
    local: '10.1.1.2:40000',
    localIp: '10.1.1.2',
    names: [],
    stage: 'connect',
    errno: 'ETIMEDOUT',
  } as const;
  const told = (grown: Readonly<Record<string, number>>, more: Partial<Evidence> = {}) => {
    const growth = [{ place: 'server', role: 'server', grown, hasConntrack: true }] as const;
    const { sure, cause } = why({ trial, events: [], growth, nodes: ['n1'], ...more });
    return `${sure} ${cause}`;
  };
  const overflows = { 'TcpExt.ListenOverflows': 9, 'TcpExt.ListenDrops': 9 };
  const drops = { 'TcpExt.ListenDrops': 4 };
  const at = (count: number, isFull = false) => ({ listening: { port: 8080, drops: count, isFull } });

  it('so the accept queue of another port is not the cause', () => {
    expect(told(overflows)).toBe('unknown no_answer');
    expect(told(overflows, at(0, true))).toBe('unknown no_answer');
    expect(told(overflows, at(4))).toBe('inferred accept_queue');
    expect(told({ ...overflows, 'TcpExt.ListenDrops': 13 }, at(4))).toBe('unknown no_answer');
    expect(told({ ...overflows, 'TcpExt.ListenDrops': 13 }, at(4, true))).toBe('inferred accept_queue');
  });

  it('so drops without overflows are those of the SYN queue only at this port', () => {
    expect(told(drops, at(4))).toBe('inferred syn_queue');
    expect(told(drops)).toBe('unknown no_answer');
    const mixed = { 'TcpExt.ListenOverflows': 3, 'TcpExt.ListenDrops': 7 };
    expect(told(mixed, at(4))).toBe('inferred syn_queue');
    expect(told(mixed, at(3))).toBe('unknown no_answer');
    expect(told(drops, at(0))).toBe('unknown no_answer');
  });

  it('so a route is missing only if each SYN was dropped for that', () => {
    const resent = { type: 'tcp_retransmit', severity: 'info', time: '', node: 'n1', namespace: '', pod: 'a' };
    const events = [{ ...resent, state: 'SYN_SENT', count: 3 }];
    expect(told({ ...drops, 'Ip.OutNoRoutes': 4 }, { events })).toBe('inferred no_way_back');
    expect(told({ ...drops, 'Ip.OutNoRoutes': 1 }, { events })).toBe('unknown no_answer');
    expect(told({ 'Ip.OutNoRoutes': 4 }, { events })).toBe('unknown no_answer');
    expect(told({ ...drops, 'Ip.OutNoRoutes': 4 }, { events, ...at(0) })).toBe('unknown no_answer');
  });

  it('so a datagram was delivered only if the server has received no other', () => {
    const udp = { trial: { ...trial, protocol: 'udp' } } as const;
    expect(told({ 'Udp.InDatagrams': 1 }, udp)).toBe('inferred server_silent');
    expect(told({ 'Udp.InDatagrams': 2 }, udp)).toBe('unknown no_answer');
  });

  it('so who refuses a connection is known if the server has refused none', () => {
    const refused = { trial: { ...trial, errno: 'ECONNREFUSED' } } as const;
    expect(told({}, refused)).toBe('inferred firewall');
    expect(told({ 'Tcp.OutRsts': 1 }, refused)).toBe('inferred refused');
  });

  it('so network policies are the cause only if nobody could have seen the drop', () => {
    const policy = { verdict: 'denied', text: 'denied: shop/deny-all' } as const;
    expect(told({}, { policy })).toBe('unknown no_answer');
    expect(told({}, { policy, growth: [] })).toBe('inferred firewall');
  });
});

it('an ICMP error that the TTL has run out is known from a counter of the client', () => {
  const localIp = '10.1.1.2';
  const trial = {
    protocol: 'tcp',
    host: 'a',
    port: 80,
    names: [],
    localIp,
    stage: 'connect',
    errno: 'EHOSTUNREACH',
  } as const;
  const growth = [{ place: 'client', role: 'client', grown: { 'Icmp.InTimeExcds': 1 }, hasConntrack: false }] as const;
  expect(why({ trial, events: [], growth, nodes: [] })).toMatchObject({ sure: 'inferred', cause: 'ttl' });
});

describe('what looks like the cause, but is not', () => {
  const trial = {
    protocol: 'tcp',
    host: '10.1.2.2',
    ip: '10.1.2.2',
    port: 80,
    local: '10.1.1.2:40000',
    localIp: '10.1.1.2',
    names: [],
    stage: 'http',
    errno: 'ECONNRESET',
  } as const;
  const [client, server] = [
    { place: 'client', role: 'client', hasConntrack: false },
    { place: 'server', role: 'server', hasConntrack: false },
  ] as const;
  const at = (second: number, pod: string, fields: object) => ({
    type: 'packet_drop',
    severity: 'warning',
    time: `2026-12-01T12:00:0${second}.5Z`,
    node: 'n1',
    namespace: '',
    pod,
    ...fields,
  });

  it('is the reset with which an end answers after it has received one', () => {
    const reset = (second: number, direction: string) =>
      at(second, 'client', { type: 'tcp_reset', severity: 'info', direction, reason: 'NO_SOCKET' });
    const events = [reset(1, 'received'), reset(2, 'sent')];
    const growth = [{ ...client, grown: { 'Tcp.OutRsts': 1 } }];
    const told = why({ trial, events, growth, nodes: ['n1'] });
    expect(told).toMatchObject({ sure: 'inferred', cause: 'reset' });
    expect(told.text).toMatch(/no agent that was asked has seen who sent it/);
    const observed = why({ trial, events, growth: [...growth, { ...server, grown: {} }], nodes: ['n1'] });
    expect(observed).toMatchObject({ sure: 'inferred', cause: 'reset' });
    expect(observed.text).toMatch(/the server has sent none: something in between has/);
    expect(why({ trial, events: [reset(1, 'sent')], growth, nodes: ['n1'] })).toMatchObject({ sure: 'seen' });
  });

  it('is a next hop that does not answer requests which are dropped before they leave', () => {
    const silent = { ...trial, stage: 'connect', errno: 'EHOSTUNREACH' } as const;
    const unresolved = at(3, 'router', { src: trial.local, dst: '10.1.2.2:80', reason: 'NEIGH_FAILED', device: 'r' });
    const request = (device: string) => at(2, 'router', { protocol: 'arp', reason: 'QDISC_DROP', device });
    const evidence = { trial: silent, growth: [], nodes: ['n1'] };
    expect(why({ ...evidence, events: [request('r'), unresolved] })).toMatchObject({
      sure: 'inferred',
      cause: 'full_queue',
      text: expect.stringMatching(/^the address of the next hop is not known, .* 1 request dropped at router \(r\)/),
    });
    const other = why({ ...evidence, events: [request('other'), unresolved] });
    expect(other).toMatchObject({ sure: 'seen', cause: 'no_neighbour' });
  });

  it('is a drop of more echoes than the client has sent', () => {
    const echo = { ...trial, protocol: 'icmp', port: 0, stage: 'connect', errno: 'ETIMEDOUT' } as const;
    const drop = (count: number) =>
      at(2, 'router', { protocol: 'icmp', src: '10.1.1.2', dst: '10.1.2.2', reason: 'NETFILTER_DROP', count });
    const growth = [{ ...client, grown: { 'IcmpMsg.OutType8': 1 } }];
    const sureOf = (count: number) => why({ trial: echo, events: [drop(count)], growth, nodes: ['n1'] }).sure;
    expect([sureOf(1), sureOf(9)]).toEqual(['seen', 'inferred']);
  });
});
