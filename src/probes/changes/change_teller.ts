import { NetworkList } from '#core/network_list.ts';
import { RateBuckets } from '#core/rate_buckets.ts';
import type { ProbeScope } from '#probe/contract.ts';
import type { EventBody } from '#probe/event.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { NODE } from '#probe/metric.ts';
import type { Change, NetworkState } from '#sources/netlink/changes/network_state.ts';
import type { Route } from '#sources/netlink/changes/routes.ts';
import type { RulesetChange } from '#sources/netlink/changes/ruleset.ts';
import { isTold, kindOf } from './change_counts.ts';
import type { ChangeEvents } from './change_events.ts';
import type { FullTable } from './neighbour_tables.ts';

const NANOSECONDS_PER_MS = 1_000_000n;
/** Minimum interval in seconds between events about the same neighbour or table. */
const PAUSE_SECONDS = 60;

type OfLink = Extract<Change, { readonly what: 'link' }>;
type OfRoute = Extract<Change, { readonly what: 'route' }>;
type OfNeighbour = Extract<Change, { readonly what: 'neighbour' }>;

export interface TellerOptions {
  /** Maximum number of events per second. */
  readonly limit: number;
  /** Networks whose routes and neighbours cause events. If empty, the Pod networks of this node are used. */
  readonly networks: readonly string[];
  /** Names of nftables tables whose changes do not cause events. A trailing `*` matches any suffix. */
  readonly tables: readonly string[];
}

/** Publishes events for changes that may affect many Pods. */
export class ChangeTeller {
  readonly #scope: ProbeScope<ChangeEvents>;
  #options: TellerOptions;
  readonly #second: RateBuckets;
  readonly #minute = new RateBuckets(1 / PAUSE_SECONDS);
  #podNetworks: readonly string[] = [];
  #networks: NetworkList;

  constructor(scope: ProbeScope<ChangeEvents>, options: TellerOptions) {
    this.#scope = scope;
    this.#options = options;
    this.#second = new RateBuckets(options.limit);
    this.#networks = new NetworkList(options.networks);
  }

  set options(options: TellerOptions) {
    this.#options = options;
    this.#second.perSecond = options.limit;
    this.#podNetworks = [];
    this.#networks = new NetworkList(options.networks);
  }

  tell(change: Change, state: NetworkState): void {
    if (change.what === 'link') this.#link(change);
    else if (change.what === 'route') this.#route(change, state);
    else if (change.what === 'neighbour') this.#neighbour(change, state);
  }

  full({ family, entries, limit, refused }: FullTable): void {
    this.#publish('neighbour_table_full', family, {
      fields: { family, entries, limit, overflows: Number(refused) },
      message: `The ${family} neighbour table was full: it refused ${refused} entries, and packets to these neighbours were dropped. It holds ${entries} entries of all network namespaces; the limit is ${limit} (gc_thresh3).`,
    });
  }

  ruleset({ tables, process, pid }: RulesetChange): void {
    for (const table of tables) {
      if (this.#isKnown(table.slice(table.indexOf(' ') + 1))) continue;
      this.#publish('ruleset_changed', table, {
        fields: { table, process, pid },
        message: `${process} (${pid}) changed the nftables table ${table}.`,
      });
    }
  }

  #link({ change, link, before }: OfLink): void {
    if (!isTold(link)) return;
    const { name, mtu } = link;
    const kind = kindOf(link);
    const what = `The ${kind === 'physical' ? 'physical device' : kind} ${name}`;
    const messages = {
      up: `${what} went up.`,
      down: `${what} went down.`,
      mtu: `${what} changed its MTU from ${before?.mtu} to ${mtu}.`,
      carrier: `${what} ${link.carrier ? 'regained its carrier' : 'lost its carrier'}.`,
      added: `${what} was added.`,
      removed: `${what} was removed.`,
    };
    const isGood = change === 'up' || change === 'added' || (change === 'carrier' && link.carrier);
    this.#publish('link_changed', undefined, {
      ...(isGood ? { severity: 'info' } : {}),
      fields: {
        device: name,
        kind,
        change,
        mtu,
        ...(change === 'mtu' && before !== undefined ? { mtuBefore: before.mtu } : {}),
        carrier: link.carrier ? 'on' : 'off',
      },
      message: messages[change],
    });
  }

  #route({ change, route, before }: OfRoute, state: NetworkState): void {
    const { family, network, prefix, table } = route;
    if (prefix > 0 && !this.#told.contains(network, prefix)) return;
    const destination = prefix === 0 ? 'default' : `${network}/${prefix}`;
    const via = change === 'removed' ? undefined : hopsOf(route, state);
    const viaBefore = before && hopsOf(before, state);
    const now = via === undefined ? '' : `, now via ${via.join(', ')}`;
    const then = viaBefore === undefined ? '' : `, previously via ${viaBefore.join(', ')}`;
    this.#publish('route_changed', undefined, {
      ...(change === 'added' ? { severity: 'info' } : {}),
      fields: { family, destination, table, change, ...(via && { via }), ...(viaBefore && { viaBefore }) },
      message: `The ${family} route to ${destination} was ${change}${now}${then}.`,
    });
  }

  #neighbour({ family, address, device }: OfNeighbour, state: NetworkState): void {
    const isHop = state.isGateway(address);
    if (!isHop && !this.#told.contains(address) && !this.#scope.node.isPodAddress(address)) return;
    const name = device?.name ?? 'an unknown device';
    const role = isHop ? 'next hop' : 'pod';
    this.#publish('neighbour_failed', `${name} ${address}`, {
      dst: address,
      fields: { family, device: name, role },
      message: `${address}, ${isHop ? 'the next hop of a route' : 'the address of a Pod'}, did not respond on ${name}.`,
    });
  }

  /**
   * Networks whose routes and neighbours cause events: the option `networks` or, if it is empty, the Pod networks.
   * There are no Pod networks until the API server has responded.
   */
  get #told(): NetworkList {
    const { podNetworks } = this.#scope.node;
    if (this.#options.networks.length === 0 && podNetworks !== this.#podNetworks) {
      this.#podNetworks = podNetworks;
      this.#networks = new NetworkList(podNetworks);
    }
    return this.#networks;
  }

  #isKnown(table: string): boolean {
    return this.#options.tables.some((known) =>
      known.endsWith('*') ? table.startsWith(known.slice(0, -1)) : table === known,
    );
  }

  /**
   * Publishes an event.
   * @param once key of an event that is published at most once a minute; undefined if only `limit` applies
   */
  #publish<Type extends keyof ChangeEvents & string>(
    type: Type,
    once: string | undefined,
    body: Omit<EventBody<ChangeEvents[Type]>, 'timeNs' | 'netns'>,
  ): void {
    const isAdmitted = (once === undefined || this.#minute.admit(`${type} ${once}`)) && this.#second.admit(type);
    const ledger = this.#scope.retained(EVENT_LEDGER);
    const { produced, limited, lost } = ledger.value;
    ledger.value = { produced: produced + 1n, limited: limited + (isAdmitted ? 0n : 1n), lost };
    if (!isAdmitted) return;
    const timeNs = BigInt(Date.now()) * NANOSECONDS_PER_MS;
    this.#scope.publish(type, { ...body, timeNs, netns: NODE } as EventBody<ChangeEvents[Type]>);
  }
}

function hopsOf({ hops }: Route, state: NetworkState): string[] {
  return hops.map(({ gateway, ifindex }) => {
    const device = ifindex === undefined ? undefined : (state.links.get(ifindex)?.name ?? `device ${ifindex}`);
    return [gateway, device && `dev ${device}`].filter((part) => part !== undefined).join(' ') || 'no device';
  });
}
