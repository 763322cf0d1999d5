import { defineEvents } from '#probe/event.ts';

const FAMILY = { type: 'string', help: 'Address family: ipv4 or ipv6.' } as const;

export const CHANGE_EVENTS = defineEvents({
  link_changed: {
    help: 'A physical device, bond, bridge, VLAN or tunnel of the node was added or removed, went up or down, lost or regained its carrier, or changed its MTU.',
    severity: 'warning',
    info: 'when a device was added or went up, or a carrier came back',
    equalBy: ['device', 'change'],
    fields: {
      device: { type: 'string', help: 'Network device.' },
      kind: { type: 'string', help: '`physical`, or the kind that `ip -d link` shows: bond, bridge, vlan, vxlan.' },
      change: { type: 'string', help: 'Type of change: up, down, mtu, carrier, added or removed.' },
      mtu: { type: 'number', help: 'Current MTU of the device.' },
      mtuBefore: { type: 'number', help: 'Previous MTU, if it changed.', optional: true },
      carrier: { type: 'string', help: 'Carrier state: on or off.' },
    },
  },
  route_changed: {
    help: 'A default route of the node, or a route inside `networks`, was added, replaced or removed.',
    severity: 'warning',
    info: 'when a route was added',
    equalBy: ['family', 'destination', 'table', 'change'],
    fields: {
      family: FAMILY,
      destination: { type: 'string', help: '`default`, or the destination network, for example 10.0.1.0/24.' },
      table: { type: 'number', help: 'Routing table ID (254 is `main`).' },
      change: { type: 'string', help: 'Type of change: added, replaced or removed.' },
      via: { type: 'strings', help: 'Current next hops, for example `10.0.0.1 dev eth0`.', optional: true },
      viaBefore: { type: 'strings', help: 'Previous next hops.', optional: true },
    },
  },
  neighbour_failed: {
    help: 'A next hop or Pod (`dst`) did not respond to ARP or neighbour discovery. At most one event per minute and address.',
    severity: 'warning',
    equalBy: ['device', 'role'],
    fields: {
      family: FAMILY,
      device: { type: 'string', help: 'Network device.' },
      role: {
        type: 'string',
        help: 'Role of the neighbour: `next hop` of a route, or `pod` for Pods of this node and addresses within `networks`.',
      },
    },
  },
  neighbour_table_full: {
    help: 'The full neighbour table refused new entries, and packets to these neighbours were dropped. Checked every few seconds, with at most one event per minute and family.',
    severity: 'warning',
    equalBy: ['family'],
    fields: {
      family: FAMILY,
      entries: {
        type: 'number',
        help: 'Current entries of all network namespaces. Permanent entries do not count against the limit.',
      },
      limit: {
        type: 'number',
        help: 'Maximum number of entries (net.ipv4.neigh.default.gc_thresh3 or net.ipv6.neigh.default.gc_thresh3).',
      },
      overflows: { type: 'number', help: 'Entries refused since the last check.' },
    },
  },
  ruleset_changed: {
    help: 'A process changed an nftables table that belongs to neither kube-proxy nor the CNI (`tables`). At most one event per minute and table. Requires NET_ADMIN.',
    severity: 'info',
    equalBy: ['table', 'process'],
    fields: {
      table: { type: 'string', help: 'Family and name of the table, for example `inet filter`.' },
      process: { type: 'string', help: 'Name of the process.' },
      pid: { type: 'number', help: 'Process ID.' },
    },
  },
});

export type ChangeEvents = typeof CHANGE_EVENTS;
