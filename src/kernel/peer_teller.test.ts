import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import type { PeersAsk, PeersTold } from './peer_table.ts';
import { PeerTeller } from './peer_teller.ts';

const [IP, OTHER] = ['10.0.0.7', '10.0.0.8'];
const CART: PeerIdentity = { kind: 'workload', namespace: 'shop', name: 'cart', pod: 'cart-1' };
const WEB: PeerIdentity = { kind: 'workload', namespace: 'shop', name: 'web', zone: 'a', pod: 'web-1' };

let owners: Map<string, PeerIdentity>;
let zone: string | undefined;
let told: PeersTold[];
let teller: PeerTeller;

beforeEach(() => {
  vi.useFakeTimers();
  owners = new Map([[IP, CART]]);
  zone = undefined;
  told = [];
  teller = new PeerTeller({
    identify: (ip) => owners.get(ip) ?? UNKNOWN_PEER,
    zone: () => zone,
    tell: (message) => told.push(message),
  });
});

afterEach(() => {
  teller[Symbol.dispose]();
  vi.useRealTimers();
});

function ask(more: Partial<PeersAsk> = {}): void {
  teller.asked({ pods: false, add: [], withinMs: 1_000, forget: [], ...more });
}

function give(ip: string, owner: PeerIdentity): void {
  owners.set(ip, owner);
  teller.changed(ip);
}

const names = () =>
  told.splice(0).map(({ peers }) => peers.map(({ ip, identity, isMixed }) => [ip, identity.name, isMixed]));

it('answers at once', () => {
  zone = 'b';
  ask({ add: [IP, OTHER] });
  expect(told).toEqual([
    {
      zone: 'b',
      peers: [
        { ip: IP, identity: { kind: 'workload', namespace: 'shop', name: 'cart' }, isMixed: false },
        { ip: OTHER, identity: UNKNOWN_PEER, isMixed: false },
      ],
    },
  ]);
});

it('names Pods on request, and then tells where one follows another of the same workload', () => {
  ask({ pods: true, add: [IP] });
  expect(told[0]?.peers[0]?.identity).toEqual({ kind: 'pod', namespace: 'shop', name: 'cart-1' });
  give(IP, { ...CART, pod: 'cart-2' });
  vi.advanceTimersByTime(50);
  expect(told[1]?.peers[0]?.identity.name).toBe('cart-2');
  ask({ pods: false });
  expect(told[2]?.peers[0]?.identity).toEqual({ kind: 'workload', namespace: 'shop', name: 'cart' });
  give(IP, { ...CART, pod: 'cart-3' });
  vi.advanceTimersByTime(50);
  expect(told).toHaveLength(3);
});

it('tells changes of addresses that were asked for, in one message', () => {
  ask({ add: [IP, OTHER] });
  names();
  give(IP, WEB);
  give(OTHER, CART);
  give('10.0.0.9', CART);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(50);
  expect(names()).toEqual([
    [
      [IP, 'web', true],
      [OTHER, 'cart', true],
    ],
  ]);
  owners.set(IP, CART);
  teller.changed();
  vi.advanceTimersByTime(50);
  expect(names()).toEqual([[[IP, 'cart', true]]]);
});

it('tells an address that went to another owner and back', () => {
  ask({ add: [IP] });
  names();
  give(IP, WEB);
  give(IP, CART);
  vi.advanceTimersByTime(50);
  expect(names()).toEqual([[[IP, 'cart', true]]]);
});

it('tells nothing about forgotten addresses, nor to a new thread that has not asked', () => {
  ask({ add: [IP, OTHER] });
  ask({ forget: [IP] });
  give(IP, WEB);
  expect(teller.size).toBe(1);
  teller.reset();
  give(OTHER, WEB);
  vi.advanceTimersByTime(50);
  expect(told).toHaveLength(1);
});

it.each<[string, () => void, boolean]>([
  ['was given for the first time', () => give(OTHER, CART), false],
  ['was taken from someone', () => give(OTHER, UNKNOWN_PEER), true],
  [
    'was given to one and then to another',
    () => {
      give(OTHER, CART);
      give(OTHER, WEB);
    },
    true,
  ],
  [
    'was forgotten and then given to another',
    () => {
      ask({ add: [OTHER] });
      ask({ forget: [OTHER] });
      give(OTHER, WEB);
    },
    true,
  ],
  [
    'changed long ago',
    () => {
      give(OTHER, UNKNOWN_PEER);
      vi.advanceTimersByTime(1_001);
      teller.changed(OTHER);
    },
    false,
  ],
])('answers for an address that %s', (_, change, isMixed) => {
  ask();
  change();
  told.length = 0;
  ask({ add: [OTHER] });
  expect(told.flatMap(({ peers }) => peers.filter(({ ip }) => ip === OTHER))).toMatchObject([{ isMixed }]);
});

it('tells the zone when it becomes known', () => {
  ask({ add: [IP] });
  zone = 'b';
  teller.changed();
  vi.advanceTimersByTime(50);
  expect(told.at(-1)).toEqual({ peers: [], zone: 'b' });
});

it('remembers what has changed for ten minutes, however many addresses change', () => {
  ask();
  const sizes = [100, 1_000].map((addresses) => {
    for (let host = 0; host < addresses; host++) {
      vi.advanceTimersByTime(60_000);
      give(`10.${addresses >> 8}.${host >> 8}.${host & 255}`, CART);
    }
    return teller.remembered;
  });
  expect(sizes).toEqual([10, 10]);
});
