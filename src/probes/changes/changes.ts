import { BpfError } from 'bpf-napi';
import * as z from 'zod';
import { SYSTEM_CLOCK } from '#core/clock.ts';
import { freeCycle } from '#core/cycle.ts';
import { isNetwork } from '#core/network_list.ts';
import { defineProbe, type ProbeScope } from '#probe/contract.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { defineMetrics, type Emit, NO_LABELS, NODE } from '#probe/metric.ts';
import { NetworkChanges } from '#sources/netlink/changes/network_changes.ts';
import { type RulesetChange, RulesetChanges } from '#sources/netlink/changes/ruleset.ts';
import { NEIGHBOUR_TABLES } from '#sources/netlink/neighbour_table.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { Sources } from '#sources/sources.ts';
import { CHANGE_COUNTS, type ChangeCounts } from './change_counts.ts';
import { CHANGE_EVENTS, type ChangeEvents } from './change_events.ts';
import { ChangeTeller } from './change_teller.ts';
import { NeighbourTableWatch } from './neighbour_tables.ts';

// Namespaced: yes. A socket receives the rtnetlink and nftables notifications of the namespace that it was made in, here the node's.
// Neighbour tables belong to the machine: all namespaces share one table and its limit for each family (kernel: net/ipv4/arp.c,
// arp_tbl; net/ipv6/ndisc.c, nd_tbl).

const FAMILY = { help: 'Family of addresses.', values: ['ipv4', 'ipv6'] } as const;
const DEVICE = {
  help: 'Network device, or a kind of devices that come and go with Pods: `kind:veth`.',
  example: 'eth0',
  max: 32,
} as const;

const counter = { type: 'counter', scope: 'node', detail: 'core' } as const;

const metrics = defineMetrics({
  links: {
    ...counter,
    name: 'netsonde_link_changes_total',
    help: 'Changes of the network devices of the node.',
    source: 'RTM_NEWLINK, RTM_DELLINK',
    labels: {
      device: DEVICE,
      change: {
        help: 'The change; a lost or regained carrier counts while the device is up.',
        values: ['up', 'down', 'mtu', 'carrier', 'added', 'removed'],
      },
    },
  },
  routes: {
    ...counter,
    name: 'netsonde_route_changes_total',
    help: 'Changes of the routes of the node, except in the table `local`.',
    source: 'RTM_NEWROUTE, RTM_DELROUTE',
    labels: {
      family: FAMILY,
      change: { help: 'The change.', values: ['added', 'replaced', 'removed'] },
    },
  },
  rules: {
    ...counter,
    name: 'netsonde_rule_changes_total',
    help: 'Changes of the routing rules of the node (`ip rule`).',
    source: 'RTM_NEWRULE, RTM_DELRULE',
    labels: { family: FAMILY, change: { help: 'The change.', values: ['added', 'removed'] } },
  },
  addresses: {
    ...counter,
    name: 'netsonde_address_changes_total',
    help: 'Addresses added to devices of the node, or removed from them.',
    source: 'RTM_NEWADDR, RTM_DELADDR',
    labels: {},
  },
  neighbourFailures: {
    ...counter,
    name: 'netsonde_neighbour_failures_total',
    help: 'Failed resolutions of a neighbour: ARP or neighbour discovery got no answer.',
    source: 'RTM_NEWNEIGH, NUD_FAILED',
    labels: { device: DEVICE },
  },
  neighbourEntries: {
    type: 'gauge',
    scope: 'node',
    detail: 'core',
    name: 'netsonde_neighbour_table_entries',
    help: 'Entries of the neighbour table, of all network namespaces; permanent ones do not count against the limit.',
    source: 'RTM_GETNEIGHTBL NDTA_CONFIG.entries',
    labels: { family: FAMILY },
  },
  neighbourLimit: {
    type: 'gauge',
    scope: 'node',
    detail: 'core',
    name: 'netsonde_neighbour_table_limit',
    help: 'Maximum number of entries of the neighbour table (gc_thresh3).',
    source: 'RTM_GETNEIGHTBL NDTA_THRESH3',
    labels: { family: FAMILY },
  },
  neighbourOverflows: {
    ...counter,
    name: 'netsonde_neighbour_table_overflows_total',
    help: 'Entries that the full neighbour table refused: packets to them were dropped.',
    source: 'RTM_GETNEIGHTBL NDTA_STATS.table_fulls',
    labels: { family: FAMILY },
  },
  rulesets: {
    ...counter,
    name: 'netsonde_ruleset_changes_total',
    help: 'Transactions that changed the nftables rules of the node, iptables-nft included; requires NET_ADMIN.',
    source: 'NFT_MSG_NEWGEN NFTA_GEN_ID',
    labels: {},
  },
  overruns: {
    ...counter,
    name: 'netsonde_change_overruns_total',
    help: 'Times that notifications of the kernel were lost, after which the state was read again; changes that were undone meanwhile are not counted.',
    source: 'ENOBUFS of the socket',
    labels: {},
  },
});

/** nftables tables that change all day: those of kube-proxy, of iptables-nft, which kube-proxy and most CNIs use, and of CNIs. */
const KNOWN_TABLES = [
  ...['kube-proxy', 'filter', 'nat', 'mangle', 'raw', 'security'],
  ...['cni_*', 'calico', 'flannel-*', 'kindnet*', 'kube-network-policies', 'kube-router*', 'ovn-kube*', 'antrea*'],
];

const EPERM = 1;

function emitCounts(emit: Emit<typeof metrics>, counts: ChangeCounts): void {
  for (const [device, changes] of counts.links) {
    for (const [change, count] of changes) emit('links', NODE, count, { device, change });
  }
  for (const [device, count] of counts.failures) emit('neighbourFailures', NODE, count, { device });
  for (const family of FAMILY.values) {
    for (const change of ['added', 'replaced', 'removed'] as const) {
      emit('routes', NODE, counts.routes.get(family)?.get(change) ?? 0, { family, change });
    }
    for (const change of ['added', 'removed'] as const) {
      emit('rules', NODE, counts.rules.get(family)?.get(change) ?? 0, { family, change });
    }
  }
  emit('addresses', NODE, counts.addresses, NO_LABELS);
  emit('overruns', NODE, counts.overruns, NO_LABELS);
}

/** Returns undefined without CAP_NET_ADMIN, which is no reason to be degraded. */
function openRuleset(
  scope: ProbeScope<ChangeEvents>,
  { netlink }: Sources,
  node: NetnsEntry,
  told: (change: RulesetChange) => void,
): RulesetChanges | undefined {
  try {
    return scope.own(new RulesetChanges(netlink, node, told));
  } catch (error) {
    if (error instanceof BpfError && error.code === 'NETLINK') {
      if (error.errno !== EPERM) scope.warn(`cannot follow changes of nftables: ${error.message}`);
      return undefined;
    }
    throw error;
  }
}

export const changes = defineProbe({
  name: 'changes',
  kind: 'netlink',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Changes in the network of the node: devices, addresses, routes, rules, neighbours that do not answer. Always worth having: most incidents follow a change.',
  guide: {
    question: 'What changed on the node before it broke?',
    when: 'Look here first when all Pods of a node lose packets at the same moment, or cannot reach one network.',
    query: 'sum by (node, device, change) (increase(netsonde_link_changes_total{device!~"kind:.*"}[15m])) > 0',
    limits: [
      'The probe follows the network of the node, never that of a Pod; neighbour tables cover all namespaces of the machine.',
      'Devices that come and go with Pods (veth, netkit, macvlan) are counted by their kind and have no event. Other devices are counted by name, up to 256 names. Routing rules have no event: some CNIs make one for each Pod.',
      'If notifications arrive faster than the agent receives them, the kernel drops some. The agent counts that and reads the state again; a change that was undone meanwhile stays unseen. Without NET_ADMIN the kernel queues net.core.rmem_max bytes.',
      'The address of a Service is rarely a neighbour; if it is one, add its network to `networks`.',
      'Changes of nftables need NET_ADMIN; changes of iptables-legacy stay unseen.',
    ],
  },
  metrics,
  events: CHANGE_EVENTS,
  options: {
    networks: z
      .array(z.string().refine(isNetwork, 'a network, like 10.0.0.0/16'))
      .default([])
      .describe(
        'Networks whose routes and failed neighbours are events, in addition to default routes and next hops. Empty: the networks of the Pods on this node (podCIDRs), as the Kubernetes API has them.',
      ),
    tables: z
      .array(z.string().min(1))
      .default(KNOWN_TABLES)
      .describe('Names of nftables tables whose changes are no events; a trailing `*` matches any suffix.'),
  },
  requires: {
    capabilities: [],
    kernel:
      'Any: rtnetlink. With NET_ADMIN also nftables. If the agent is not in the network namespace of the node, entering it needs SYS_ADMIN.',
  },
  measured: {
    note: 'Sleeps until the kernel sends a notification, and then takes 12 to 16 µs of CPU for each. A scrape reads the neighbour tables, 0.16 ms; measured on a busy machine.',
  },
  open: async (scope, sources, { events, limit, options }) => {
    const { node } = sources.netns;
    if (node === undefined) throw new Error('the network namespace of the node is unknown');
    const counts = scope.retained(CHANGE_COUNTS).value;
    const teller = events ? new ChangeTeller(scope, { limit, ...options }) : undefined;
    const network = scope.own(
      await NetworkChanges.open({
        client: sources.netlink,
        entry: node,
        clock: SYSTEM_CLOCK,
        told: (change, state) => {
          counts.count(change);
          teller?.tell(change, state);
        },
        overran: () => counts.overruns++,
      }),
    );
    const ruleset = openRuleset(scope, sources, node, (change) => teller?.ruleset(change));
    const rulesetsBefore = counts.rulesets;
    const countRulesets = () => {
      if (ruleset !== undefined) counts.rulesets = rulesetsBefore + ruleset.changes;
    };
    scope.own({ [Symbol.dispose]: countRulesets });
    const watch = new NeighbourTableWatch();
    const lookAtTables = () => {
      const tables = sources.netlink.ask(node, NEIGHBOUR_TABLES, freeCycle()) ?? [];
      const full = watch.look(tables);
      for (const table of full) teller?.full(table);
      return tables;
    };
    lookAtTables();
    // The kernel sends no notification for a full table. The sweep wakes the agent anyway, so this check adds no wake-up.
    if (events) scope.own(sources.netns.onSweep(lookAtTables));
    return {
      health: () => ({
        reader: 'netlink',
        degraded: network.isStale ? ['the kernel did not answer when the state was read again'] : [],
      }),
      collect: async (emit) => {
        emitCounts(emit, counts);
        countRulesets();
        if (ruleset !== undefined) emit('rulesets', NODE, counts.rulesets, NO_LABELS);
        for (const { family, entries, limit: most, overflows } of lookAtTables()) {
          emit('neighbourEntries', NODE, entries, { family });
          emit('neighbourLimit', NODE, most, { family });
          if (overflows !== undefined) emit('neighbourOverflows', NODE, overflows, { family });
        }
      },
      ledger: () => scope.retained(EVENT_LEDGER).value,
    };
  },
});
