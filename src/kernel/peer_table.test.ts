import { afterEach, describe, expect, it, vi } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { FlowRow } from '#probe/flow_row.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { SELF_PEER, UNKNOWN_PEER } from '#probe/peers.ts';
import { type PeersAsk, PeerTable, type PeerTableOptions } from './peer_table.ts';

afterEach(() => void vi.useRealTimers());

const CART: PeerIdentity = { kind: 'workload', namespace: 'shop', name: 'cart' };
const WEB: PeerIdentity = { kind: 'service', namespace: 'shop', name: 'web', zone: 'a' };
const IP = '10.0.0.7';

let serial = 0;

function row(peer: string, more: Partial<FlowRow['place']> = {}): FlowRow {
  return new FlowRow(++serial, String(serial), {
    netns: asNetnsId(2),
    cgroup: 0,
    role: 'client',
    peer,
    port: 80,
    ...more,
  });
}

function open(options: Partial<PeerTableOptions> = {}) {
  const asks: PeersAsk[] = [];
  const table = new PeerTable({ ask: (ask) => asks.push(ask), isOwn: () => false, ...options });
  const follower = table.follow({ pods: true, subjectOf: ({ place }) => place.netns });
  asks.length = 0;
  const tell = (ip: string, identity: PeerIdentity, isMixed = false) =>
    table.tell({ peers: [{ ip, identity, isMixed }], zone: 'a' });
  return { table, follower, asks, tell };
}

it('asks for new addresses once, and waits for the answers', async () => {
  const { follower, asks, tell, table } = open();
  const rows = [row(IP), row(IP, { role: 'server' }), row('127.0.0.1'), row('::1'), row('*', { port: undefined })];
  const found = follower.find(rows);
  expect(asks).toMatchObject([{ pods: true, add: [IP], forget: [] }]);
  tell(IP, CART);
  await found;
  expect(rows.map(({ identity }) => identity)).toEqual([CART, CART, SELF_PEER, SELF_PEER, undefined]);
  expect(table.zone).toBe('a');
  await follower.find(rows);
  expect(asks[1]).toMatchObject({ add: [], forget: [] });
});

it('does not wait for long, and counts what is not answered', async () => {
  vi.useFakeTimers();
  const { follower, tell } = open();
  const late = row(IP);
  const found = follower.find([late]);
  await vi.advanceTimersByTimeAsync(250);
  await found;
  expect(late.identity).toBe(UNKNOWN_PEER);
  expect(follower.unresolved()).toEqual({ unknown: 0, pending: 0, unanswered: 1, changed: 0, no_room: 0 });
  // The next collection does not wait again for an answer that is already overdue.
  await follower.find([late]);
  tell(IP, CART);
  expect(follower.isStale(late)).toBe(true);
  expect(follower.unresolved()).toMatchObject({ unanswered: 0 });
});

it('tells that an identity has changed, and gives the growth of that time to nobody', async () => {
  const { follower, tell } = open();
  const kept = row(IP);
  const found = follower.find([kept]);
  tell(IP, CART);
  await found;
  expect(follower.isStale(kept)).toBe(false);
  tell(IP, WEB);
  for (const isMixed of [true, true, false]) {
    follower.begin();
    expect(follower.isStale(kept)).toBe(true);
    expect(follower.of(kept, true)).toEqual(isMixed ? UNKNOWN_PEER : WEB);
    expect(follower.of(kept, false)).toEqual(WEB);
    expect(follower.unresolved()).toMatchObject({ changed: Number(isMixed) });
    await follower.find([kept]);
  }
});

it('leaves growth with a pending peer until the whole growth belongs to the name', async () => {
  const { follower, tell } = open();
  const kept = row(IP);
  const found = follower.find([kept]);
  tell(IP, { kind: 'pending', namespace: '', name: '' });
  await found;
  expect(kept.identity).toMatchObject({ kind: 'pending' });
  expect(follower.unresolved()).toMatchObject({ unknown: 0, pending: 1 });
  tell(IP, WEB);
  for (const isMixed of [true, true, false]) {
    follower.begin();
    expect(follower.of(kept, true)).toBe(isMixed ? kept.identity : WEB);
    await follower.find([kept]);
  }
});

it('counts addresses that nobody has, and those without room', async () => {
  const { follower, asks, tell } = open({ max: 1 });
  const rows = [row(IP), row('10.0.0.8')];
  const found = follower.find(rows);
  expect(asks[0]?.add).toEqual([IP]);
  tell(IP, { kind: 'unknown', namespace: '', name: '' });
  await found;
  expect(rows.map(({ identity }) => identity)).toEqual([UNKNOWN_PEER, UNKNOWN_PEER]);
  expect(follower.unresolved()).toEqual({ unknown: 1, pending: 0, unanswered: 0, changed: 0, no_room: 1 });
});

it('forgets addresses without rows, and all of them once nobody follows', async () => {
  const { table, follower, asks, tell } = open({ waitMs: 0 });
  await follower.find([row(IP), row('10.0.0.8')]);
  await follower.find([row(IP)]);
  expect(asks[1]).toMatchObject({ add: [], forget: ['10.0.0.8'] });
  tell('10.0.0.8', CART);
  follower[Symbol.dispose]();
  expect(asks[2]).toMatchObject({ add: [], forget: [IP] });
  expect(table.pods).toBe(false);
});

describe('two probes', () => {
  function openBoth() {
    const one = open();
    const other = one.table.follow({ pods: false, subjectOf: ({ place }) => place.netns });
    one.asks.length = 0;
    return { ...one, other };
  }

  it('share the addresses: one request, one name, until neither has a row', async () => {
    const { table, follower, other, asks, tell } = openBoth();
    const rows = [row(IP), row(IP)] as const;
    const found = [follower.find([rows[0]]), other.find([rows[1]])];
    tell(IP, CART);
    await Promise.all(found);
    expect(rows.map(({ identity }) => identity)).toEqual([CART, CART]);
    expect(asks.map(({ pods, add }) => [pods, add])).toEqual([
      [true, [IP]],
      [true, []],
    ]);
    follower[Symbol.dispose]();
    expect(asks[2]).toMatchObject({ pods: false, forget: [] });
    other[Symbol.dispose]();
    expect(asks[3]).toMatchObject({ forget: [IP] });
    expect(table.pods).toBe(false);
  });

  it('know an address that the other one has asked for, without a change', async () => {
    const { follower, other, asks, tell } = openBoth();
    const found = follower.find([row(IP)]);
    tell(IP, CART);
    await found;
    const own = row(IP);
    other.begin();
    await other.find([own]);
    expect([own.identity, other.isStale(own), asks[1]?.add]).toEqual([CART, false, []]);
  });

  it('each give the growth of their own interval to nobody after a change', async () => {
    const { follower, other, tell } = openBoth();
    const rows = [row(IP), row(IP)] as const;
    const found = [follower.find([rows[0]]), other.find([rows[1]])];
    tell(IP, CART);
    await Promise.all(found);
    tell(IP, WEB);
    for (let update = 0; update < 3; update++) {
      follower.begin();
      await follower.find([rows[0]]);
    }
    // The other probe has not read its rows since the address got its new owner.
    other.begin();
    expect([follower.of(rows[0], true), other.of(rows[1], true)]).toEqual([WEB, UNKNOWN_PEER]);
  });
});

it('an own address is the entity itself', async () => {
  const { follower, tell } = open({ isOwn: (subject, ip) => subject === asNetnsId(2) && ip === IP });
  const [own, other] = [row(IP), row('10.0.0.8')];
  const found = follower.find([own, other]);
  tell(IP, CART);
  tell('10.0.0.8', CART);
  await found;
  expect([own.identity, other.identity]).toEqual([SELF_PEER, CART]);
  tell(IP, WEB);
  expect(follower.isStale(own)).toBe(false);
});

describe('peers behind NAT', () => {
  const NODE: PeerIdentity = { kind: 'node', namespace: '', name: 'node-a' };
  const NODE_IP = '10.0.0.1';

  it('may be behind the address of a node, or behind one that nothing has', async () => {
    const { follower, tell } = open();
    const rows = [row(NODE_IP), row('10.0.0.9'), row(IP), row('127.0.0.1'), row('*', { port: undefined })];
    expect(rows.map((each) => follower.mayBeTranslated(each))).toEqual([false, false, false, false, false]);
    const found = follower.find(rows);
    tell(NODE_IP, NODE);
    tell('10.0.0.9', UNKNOWN_PEER);
    tell(IP, CART);
    await found;
    expect(rows.map((each) => follower.mayBeTranslated(each))).toEqual([true, true, false, false, false]);
  });

  it('have the identity of the real end once that is known, and that of the address while it is not', async () => {
    const { follower, asks, tell } = open();
    const masqueraded = row(NODE_IP, { role: 'server' });
    let found = follower.find([masqueraded]);
    tell(NODE_IP, NODE);
    await found;
    expect(masqueraded.identity).toBe(NODE);
    masqueraded.translation = { state: 'resolved', address: IP };
    follower.begin();
    expect(follower.isStale(masqueraded)).toBe(false);
    found = follower.find([masqueraded]);
    expect(asks.at(-1)?.add).toEqual([IP]);
    tell(IP, CART);
    await found;
    follower.begin();
    expect(follower.isStale(masqueraded)).toBe(true);
    expect(follower.of(masqueraded, true)).toEqual(CART);
    masqueraded.identity = follower.of(masqueraded, true);
    expect(follower.isStale(masqueraded)).toBe(false);
    // The real end is no longer known.
    masqueraded.translation = { state: 'mixed', next: '10.0.0.8' };
    expect(follower.isStale(masqueraded)).toBe(true);
    expect(follower.of(masqueraded, true)).toBe(NODE);
    void follower.find([masqueraded]);
    expect(asks.at(-1)).toMatchObject({ add: ['10.0.0.8'], forget: [IP] });
  });

  it('belong to nobody while the real address changes hands', async () => {
    const { follower, tell } = open();
    const masqueraded = row(NODE_IP, { role: 'server' });
    masqueraded.translation = { state: 'resolved', address: IP };
    const found = follower.find([masqueraded]);
    tell(NODE_IP, NODE);
    tell(IP, CART);
    await found;
    expect(masqueraded.identity).toBe(CART);
    tell(IP, WEB);
    follower.begin();
    expect(follower.isStale(masqueraded)).toBe(true);
    expect(follower.of(masqueraded, true)).toBe(UNKNOWN_PEER);
  });

  it('may be the entity itself, until another end is behind the address', async () => {
    const { follower, tell } = open({ isOwn: (_, ip) => ip === IP });
    const hairpin = row(NODE_IP, { role: 'server' });
    hairpin.translation = { state: 'resolved', address: IP };
    const found = follower.find([hairpin]);
    tell(NODE_IP, NODE);
    tell(IP, CART);
    await found;
    expect(hairpin.identity).toBe(SELF_PEER);
    follower.begin();
    expect(follower.of(hairpin, true)).toBe(SELF_PEER);
    hairpin.translation = { state: 'mixed' };
    expect(follower.isStale(hairpin)).toBe(true);
    expect(follower.of(hairpin, true)).toBe(NODE);
  });
});
