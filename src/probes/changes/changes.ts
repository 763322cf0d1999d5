import { BpfError } from 'bpf-napi';
import * as z from 'zod';
import { SYSTEM_CLOCK } from '#core/clock.ts';
import { freeCycle } from '#core/cycle.ts';
import { isNetwork } from '#core/network_list.ts';
import { repeat } from '#core/repeat.ts';
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

// These metrics are per network namespace. A socket receives the rtnetlink and nftables notifications of the namespace
// in which it was created; here, this is the node's. Neighbour tables are shared by all namespaces, with one table and
// one limit for each address family (kernel: net/ipv4/arp.c, arp_tbl; net/ipv6/ndisc.c, nd_tbl).

const FAMILY = { help: 'Address family.', values: ['ipv4', 'ipv6'] } as const;
const DEVICE = {
  help: 'Network device. Devices that are created for each Pod are counted by kind: `kind:veth`.',
  example: 'eth0',
  max: 32,
} as const;

const counter = { type: 'counter', scope: 'node', detail: 'core' } as const;

const metrics = defineMetrics({
  links: {
    ...counter,
    name: 'netsonde_link_changes_total',
    help: 'Changes to network devices of the node.',
    source: 'RTM_NEWLINK, RTM_DELLINK',
    labels: {
      device: DEVICE,
      change: {
        help: 'Type of change. Carrier changes are counted only while the device is up.',
        values: ['up', 'down', 'mtu', 'carrier', 'added', 'removed'],
      },
    },
  },
  routes: {
    ...counter,
    name: 'netsonde_route_changes_total',
    help: 'Changes to routes of the node, except in the `local` table.',
    source: 'RTM_NEWROUTE, RTM_DELROUTE',
    labels: {
      family: FAMILY,
      change: { help: 'Type of change.', values: ['added', 'replaced', 'removed'] },
    },
  },
  rules: {
    ...counter,
    name: 'netsonde_rule_changes_total',
    help: 'Changes to routing rules of the node (`ip rule`).',
    source: 'RTM_NEWRULE, RTM_DELRULE',
    labels: { family: FAMILY, change: { help: 'Type of change.', values: ['added', 'removed'] } },
  },
  addresses: {
    ...counter,
    name: 'netsonde_address_changes_total',
    help: 'Addresses added to or removed from devices of the node.',
    source: 'RTM_NEWADDR, RTM_DELADDR',
    labels: {},
  },
  neighbourFailures: {
    ...counter,
    name: 'netsonde_neighbour_failures_total',
    help: 'Failed neighbour resolutions, in which ARP or neighbour discovery got no response.',
    source: 'RTM_NEWNEIGH, NUD_FAILED',
    labels: { device: DEVICE },
  },
  neighbourEntries: {
    type: 'gauge',
    scope: 'node',
    detail: 'core',
    name: 'netsonde_neighbour_table_entries',
    help: 'Entries in the neighbour table, summed over all network namespaces. Permanent entries do not count against the limit.',
    source: 'RTM_GETNEIGHTBL NDTA_CONFIG.entries',
    labels: { family: FAMILY },
  },
  neighbourLimit: {
    type: 'gauge',
    scope: 'node',
    detail: 'core',
    name: 'netsonde_neighbour_table_limit',
    help: 'Maximum number of entries in the neighbour table (gc_thresh3).',
    source: 'RTM_GETNEIGHTBL NDTA_THRESH3',
    labels: { family: FAMILY },
  },
  neighbourOverflows: {
    ...counter,
    name: 'netsonde_neighbour_table_overflows_total',
    help: 'Entries that the full neighbour table refused. Packets to these neighbours were dropped.',
    source: 'RTM_GETNEIGHTBL NDTA_STATS.table_fulls',
    labels: { family: FAMILY },
  },
  rulesets: {
    ...counter,
    name: 'netsonde_ruleset_changes_total',
    help: 'Transactions that changed the nftables rules of the node, including those by iptables-nft. Requires NET_ADMIN.',
    source: 'NFT_MSG_NEWGEN NFTA_GEN_ID',
    labels: {},
  },
  overruns: {
    ...counter,
    name: 'netsonde_change_overruns_total',
    help: 'Times that kernel notifications were lost. The state is then read again, but changes that were reverted in the meantime are not counted.',
    source: 'ENOBUFS of the socket',
    labels: {},
  },
});

/**
 * nftables tables that change frequently: those of kube-proxy and CNI plugins, and those of iptables-nft, which most
 * CNI plugins use.
 */
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

/**
 * Starts to follow the nftables ruleset. Returns undefined if CAP_NET_ADMIN is missing. The probe then omits the
 * ruleset, and does not count as degraded.
 */
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

const LOOK_EVERY_MS = 10_000;

export const changes = defineProbe({
  name: 'changes',
  kind: 'netlink',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Changes to the network of the node: devices, addresses, routes, rules and unresponsive neighbours. Recommended everywhere because most incidents follow a change.',
  guide: {
    question: 'What changed on the node before it broke?',
    when: 'Look here first when all Pods of a node lose packets at the same moment, or cannot reach one network.',
    query: 'sum by (node, device, change) (increase(netsonde_link_changes_total{device!~"kind:.*"}[15m])) > 0',
    limits: [
      'The probe monitors the network of the node, not those of Pods. Only the metrics of neighbour tables cover all namespaces.',
      'Devices that are created for each Pod (veth, netkit, macvlan) are counted by kind and cause no events. Other devices are counted by name, up to 256 names. Routing rules cause no events because some CNIs create one for each Pod.',
      'If notifications arrive faster than the agent receives them, the kernel drops some. The agent counts these losses and reads the state again, but does not see changes that were reverted in the meantime. Without NET_ADMIN, the kernel queues at most net.core.rmem_max bytes.',
      'The address of a Service is usually not a neighbour. If it is, add its network to `networks`.',
      'Detecting nftables changes requires NET_ADMIN. Changes made by iptables-legacy are not reported.',
    ],
  },
  metrics,
  events: CHANGE_EVENTS,
  options: {
    networks: z
      .array(z.string().refine(isNetwork, 'a network, like 10.0.0.0/16'))
      .default([])
      .describe(
        'Networks whose routes and failed neighbours cause events, in addition to default routes and next hops. Default: the Pod networks of this node (podCIDRs) from the Kubernetes API.',
      ),
    tables: z
      .array(z.string().min(1))
      .default(KNOWN_TABLES)
      .describe('Names of nftables tables whose changes cause no event. A trailing `*` matches any suffix.'),
  },
  inPlace: ['limit', 'networks', 'tables'],
  requires: {
    capabilities: [],
    kernel:
      'Any, by rtnetlink. nftables needs NET_ADMIN. An agent outside the network namespace of the node needs SYS_ADMIN to enter it.',
  },
  measured: {
    note: 'Sleeps until the kernel sends notifications, each of which takes 12 to 16 µs of CPU time. A scrape takes 0.16 ms to read the neighbour tables. Measured on a busy machine.',
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
    // The tables have to be polled, because the kernel sends no notification when one is full.
    if (events) scope.own(repeat(LOOK_EVERY_MS, async () => void lookAtTables()));
    return {
      apply: (changed) => {
        if (teller !== undefined) teller.options = { limit: changed.limit, ...changed.options };
        return true;
      },
      health: () => ({
        reader: 'netlink',
        degraded: network.isStale ? ['the kernel did not respond when the state was read again'] : [],
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
