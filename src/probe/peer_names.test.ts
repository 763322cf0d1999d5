import { beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { ADDRESSES_MAX, ADDRESSES_OF_ONE_MAX, NAMES_OF_ADDRESS_MAX, type NamedPeer, PeerNames } from './peer_names.ts';

const [CART, WEB, INNER] = [1, 2, 3].map(asNetnsId) as [NetnsId, NetnsId, NetnsId];
const IP = '192.0.2.1';
const HOUR_MS = 3_600_000;

let nowMs: number;
let edges: NamedPeer[];
let refreshes: number;
let names: PeerNames;
let run: Disposable;

const learn = (netns: NetnsId, name: string, ip = IP, ttlSeconds = 30) =>
  names.learn(netns, { name, ips: [ip], ttlSeconds });
const sweepAt = (ms: number, isGone: (id: NetnsId) => boolean = () => false) => {
  nowMs = ms;
  names.sweep(isGone);
};

beforeEach(() => {
  [nowMs, edges, refreshes] = [0, [], 0];
  names = new PeerNames({
    homeOf: (id) => (id === INNER ? CART : id),
    edges: () => edges,
    nowMs: () => nowMs,
  });
  run = names.open({ refresh: () => void refreshes++ });
});

it('a name is the view of one Pod, with all of its namespaces', () => {
  learn(CART, 'a.example');
  learn(WEB, 'b.example');
  expect([CART, INNER, WEB].map((id) => names.of(id, IP))).toEqual([['a.example'], ['a.example'], ['b.example']]);
  expect(names.of(CART, '192.0.2.2')).toEqual([]);
  expect(names.size).toBe(2);
  expect(refreshes).toBe(4);
});

it('an address that several names share has all of them, in the order in which they were first resolved', () => {
  for (const name of ['b.example', 'a.example', 'b.example']) learn(CART, name);
  expect(names.of(CART, IP)).toEqual(['b.example', 'a.example']);
});

describe('a name expires', () => {
  it('a minute after its answer is no longer valid, and later if it is resolved again', () => {
    learn(CART, 'a.example');
    nowMs = 20_000;
    learn(CART, 'b.example');
    sweepAt(89_000);
    expect(names.of(CART, IP)).toEqual(['a.example', 'b.example']);
    sweepAt(100_000);
    expect(names.of(CART, IP)).toEqual(['b.example']);
    sweepAt(120_000);
    expect([names.of(CART, IP), names.size]).toEqual([[], 0]);
  });

  it('not while an edge of the Pod has the address', () => {
    learn(CART, 'a.example');
    learn(WEB, 'a.example');
    edges = [{ netns: INNER, ip: IP }];
    sweepAt(24 * HOUR_MS);
    expect([names.of(CART, IP), names.of(WEB, IP)]).toEqual([['a.example'], []]);
    edges = [];
    sweepAt(25 * HOUR_MS);
    expect(names.of(CART, IP)).toEqual([]);
  });

  it('after an hour at the latest, whatever its answer says', () => {
    learn(CART, 'a.example', IP, 0x7fff_ffff);
    sweepAt(HOUR_MS);
    expect(names.of(CART, IP)).toEqual(['a.example']);
    sweepAt(HOUR_MS + 60_000);
    expect(names.of(CART, IP)).toEqual([]);
  });

  it('with its Pod, and with the probe', () => {
    learn(CART, 'a.example');
    learn(WEB, 'a.example');
    sweepAt(0, (id) => id === CART);
    expect([names.of(CART, IP), names.of(WEB, IP), names.size]).toEqual([[], ['a.example'], 1]);
    run[Symbol.dispose]();
    learn(WEB, 'late.example');
    expect([names.of(WEB, IP), names.isOn, names.size]).toEqual([[], false, 0]);
    names.open({ refresh: () => undefined });
    expect(names.of(WEB, IP)).toEqual([]);
  });
});

describe('a Pod that resolves without end', () => {
  const flood = (netns: NetnsId, count: number) => {
    for (let index = 0; index < count; index++) learn(netns, `n${index}.example`, `10.0.${index >> 8}.${index & 255}`);
  };

  it('displaces only its own names, the oldest first', () => {
    learn(WEB, 'a.example');
    flood(CART, ADDRESSES_OF_ONE_MAX + 1_000);
    expect([names.of(WEB, IP), names.of(CART, '10.0.0.0')]).toEqual([['a.example'], []]);
    expect([names.size, names.displaced]).toEqual([ADDRESSES_OF_ONE_MAX + 1, 1_000]);
    expect(names.of(CART, '10.0.5.0')).toEqual(['n1280.example']);
  });

  it('cannot displace those of a quiet Pod with the help of others', () => {
    learn(WEB, 'a.example');
    const pods = ADDRESSES_MAX / ADDRESSES_OF_ONE_MAX + 5;
    for (let pod = 0; pod < pods; pod++) flood(asNetnsId(100 + pod), ADDRESSES_OF_ONE_MAX);
    expect([names.of(WEB, IP), names.size]).toEqual([['a.example'], ADDRESSES_MAX]);
    expect(names.displaced).toBe(1 + 5 * ADDRESSES_OF_ONE_MAX);
  });

  it('gives an address at most eight names', () => {
    for (let index = 0; index < 20; index++) learn(CART, `n${index}.example`, IP, 30 + index);
    expect(names.of(CART, IP)).toHaveLength(NAMES_OF_ADDRESS_MAX);
    expect(names.of(CART, IP).at(-1)).toBe('n19.example');
    expect(names.displaced).toBe(12);
  });
});
