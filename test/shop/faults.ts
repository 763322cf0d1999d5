import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { putRedisPolicy, removeRedisPolicy } from './objects.ts';
import { outsideIp } from './plan.ts';
import type { MachineName, Shop } from './shop.ts';

const DETOUR = fileURLToPath(new URL('./detour.py', import.meta.url));
/** Delay of each packet from the catalog to the database, in milliseconds. Round trips above 100 ms are trouble. */
const DELAY_MS = 150;
/** Percentage of packets that are lost. */
const LOSS_PERCENT = 5;
/** Default value of the device setting `gso_max_segs` (include/linux/netdevice.h). */
const SEGMENTS_MAX = 65_535;
/** Firewall marks of packets that take a detour, and numbers of the routing tables for them. */
const MARKS = { slow: 81, lossy: 82, payments: 83 } as const;

export interface Fault {
  /** Effect of the fault, and the edge that it affects. */
  readonly help: string;
  readonly set: (shop: Shop, on: boolean) => Promise<void> | void;
}

/** Returns a function that adds or removes an nftables table with one chain on a machine. */
function rules(machine: MachineName, name: string, hook: string, make: (shop: Shop) => string): Fault['set'] {
  return async (shop, on) => {
    const table = `inet ${name}`;
    const chain = `chain c { type filter hook ${hook} priority filter; ${make(shop)}; }`;
    await shop.machine(machine).run(on ? `nft 'table ${table} { ${chain}; }'` : `nft delete table ${table}`);
  };
}

/** Returns a function that adds or removes the rules, and the policy from which a network plugin would derive them. */
function denied(setRules: Fault['set']): Fault['set'] {
  return async (shop, on) => {
    if (on) putRedisPolicy(shop.api);
    else removeRedisPolicy(shop.api);
    await setRules(shop, on);
  };
}

/** Returns a function that switches a fault on or off in the programs of a workload. */
function told(workload: string, fault: string): Fault['set'] {
  return (shop, on) => {
    for (const pod of shop.podsOf(workload)) pod.order({ fault, on });
  };
}

function ipsOf(shop: Shop, workload: string): string {
  return `{ ${shop
    .podsOf(workload)
    .map(({ given }) => given.ip)
    .join(', ')} }`;
}

/**
 * Returns a function that sends packets of the router through a program that delays or loses them. The kernel reports
 * no drop then. If nftables dropped them, the agents would see that, because the router shares their kernel.
 */
function detour(
  name: keyof typeof MARKS,
  { delayMs = 0, lossPercent = 0 }: { readonly delayMs?: number; readonly lossPercent?: number },
  match: (shop: Shop) => string,
): Fault['set'] {
  const device = `${name}0`;
  const mark = MARKS[name];
  return async (shop, on) => {
    const router = shop.machine('outside');
    const cgroup = shop.cgroupIn('outside', name);
    if (!on) {
      await router.run(`nft delete table inet ${name}; ip rule del fwmark ${mark}`);
      await cgroup.remove();
      return;
    }
    const command = ['python3', '-u', DETOUR, device, String(delayMs), String(lossPercent)];
    const child = router.launch({ command, cgroup });
    if (child.stdout === null) throw new Error('no pipe');
    await once(child.stdout, 'data');
    const chain = `type filter hook prerouting priority mangle; iifname != "${device}" ${match(shop)} meta mark set ${mark};`;
    await router.run(`ip link set ${device} up
ip route add default dev ${device} table ${mark}
ip rule add fwmark ${mark} lookup ${mark}
nft 'table inet ${name} { chain c { ${chain} }; }'`);
  };
}

/**
 * Loses packets from the catalog to the storefront on the other node. While the fault is on, the catalog sends only one
 * segment per packet, because a lost packet could otherwise contain up to 64 kB.
 */
async function setLossy(shop: Shop, on: boolean): Promise<void> {
  for (const { given, netns } of shop.podsOf('catalog'))
    await given.machine.run(`ip -n ${netns} link set eth0 gso_max_segs ${on ? 1 : SEGMENTS_MAX}`);
  await lose(shop, on);
}

const lose = detour(
  'lossy',
  { lossPercent: LOSS_PERCENT },
  (shop) => `ip saddr ${ipsOf(shop, 'catalog')} ip daddr ${ipsOf(shop, 'storefront')}`,
);

/** Faults of the shop. The first five and `slow` are network faults, so they are visible in flows. */
export const FAULTS = {
  refused: {
    help: 'orders listens no more: checkout to orders is refused',
    set: told('orders', 'refused'),
  },
  slow: {
    help: `the way from catalog to postgres takes ${DELAY_MS} ms more`,
    set: detour(
      'slow',
      { delayMs: DELAY_MS },
      (shop) => `ip saddr ${ipsOf(shop, 'catalog')} ip daddr ${ipsOf(shop, 'postgres')} tcp dport 5432`,
    ),
  },
  lossy: {
    help: `${LOSS_PERCENT} % of the packets from catalog to storefront on the other node are lost`,
    set: setLossy,
  },
  denied: {
    help: 'a network policy denies redis to cart, so a rule on the node of redis drops all packets from cart',
    set: denied(
      rules(
        'node-b',
        'network-policy',
        'forward',
        (shop) => `ip saddr ${ipsOf(shop, 'cart')} ip daddr ${ipsOf(shop, 'redis')} tcp dport 6379 counter drop`,
      ),
    ),
  },
  dropped: {
    help: 'a rule on the node of postgres drops all packets from orders, although no network policy denies them',
    set: rules(
      'node-b',
      'firewall',
      'forward',
      (shop) => `ip saddr ${ipsOf(shop, 'orders')} ip daddr ${ipsOf(shop, 'postgres')} tcp dport 5432 counter drop`,
    ),
  },
  'full-accept-queue': {
    help: 'search accepts no more connections: its queue fills up',
    set: (shop, on) => {
      for (const pod of shop.podsOf('search')) pod.freeze(on);
    },
  },
  'outside-by-name': {
    help: 'payments.example, which checkout calls, does not answer',
    set: detour('payments', { lossPercent: 100 }, () => `ip daddr ${outsideIp('payments')}`),
  },
  'missing-name': {
    help: 'storefront asks for a name that no Service has, with each page',
    set: told('storefront', 'missing-name'),
  },
  'slow-query': {
    help: 'the query of catalog takes postgres more than a second',
    set: told('catalog', 'slow-query'),
  },
  'failing-method': {
    help: 'the gRPC method Add of cart fails with INTERNAL',
    set: told('cart', 'failing-method'),
  },
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultName = keyof typeof FAULTS;

/** Checks the name of a fault. @throws if there is no such fault; the message lists all faults */
export function faultName(name: string): FaultName {
  if (Object.hasOwn(FAULTS, name)) return name as FaultName;
  throw new Error(`there is no fault ${name}; the faults are ${Object.keys(FAULTS).join(', ')}`);
}
