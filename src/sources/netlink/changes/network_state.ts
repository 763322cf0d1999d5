import type { Family } from './family.ts';
import type { Link, Notice, What } from './notices.ts';
import type { Route } from './routes.ts';

export type LinkChange = 'up' | 'down' | 'mtu' | 'carrier' | 'added' | 'removed';
export type TableChange = 'added' | 'removed' | 'replaced';

/** A difference between the stored state and the state that the kernel reports. */
export type Change =
  | { readonly what: 'link'; readonly change: LinkChange; readonly link: Link; readonly before?: Link }
  | { readonly what: 'route'; readonly change: TableChange; readonly route: Route; readonly before?: Route }
  | { readonly what: 'address' | 'rule'; readonly change: 'added' | 'removed'; readonly family: Family }
  | {
      readonly what: 'neighbour';
      readonly family: Family;
      readonly address: string;
      readonly device: Link | undefined;
    };

/**
 * Maximum number of stored links, and likewise of routes, addresses, rules and failed neighbours. Further objects are
 * counted but not stored.
 */
export const REMEMBERED_MAX = 16_384;

type Told = (change: Change) => void;
type Keyed = Extract<Notice, { readonly what: 'address' | 'rule' }>;

/**
 * Devices, addresses, routes, rules and failed neighbours of one namespace, as reported by the kernel. A notification
 * that matches the stored state is not a change.
 */
export class NetworkState {
  readonly links = new Map<number, Link>();
  /** Routes by key. Routes with the same key have different next hops. */
  readonly routes = new Map<string, Route[]>();
  readonly addresses = new Map<string, Family>();
  readonly rules = new Map<string, Family>();
  /** Neighbours whose last resolution failed, by device and address. */
  readonly failed = new Map<string, Family>();
  readonly #told: Told;
  readonly #leftOut: (what: What) => void;
  #gateways: ReadonlySet<string> | undefined;
  readonly #routed = new Set<number>();

  /**
   * @param told called with each change, in order
   * @param leftOut called for each notification that could not be stored
   */
  constructor(told: Told, leftOut: (what: What) => void) {
    this.#told = told;
    this.#leftOut = leftOut;
  }

  /**
   * Applies one notification.
   * @returns the part of the state that must be read again, if any. The kernel sends no notifications for IPv4 routes
   *   that it removes together with a device or an address (net/ipv4/fib_trie.c, fib_table_flush()), and only a partial
   *   one if a multipath route loses a hop.
   */
  apply(notice: Notice): What | undefined {
    switch (notice.what) {
      case 'link':
        return this.#link(notice.link, notice.gone);
      case 'address':
        this.#keyed(this.addresses, notice);
        return notice.gone && notice.family === 'ipv4' ? 'route' : undefined;
      case 'rule':
        this.#keyed(this.rules, notice);
        return undefined;
      case 'route':
        return this.#route(notice.route, notice.gone, notice.replaces);
      case 'neighbour':
        this.#neighbour(notice);
        return undefined;
    }
  }

  /** Applies a complete dump. Removes stored rows that the dump does not contain. */
  replace(what: What, rows: readonly Notice[]): void {
    switch (what) {
      case 'link':
        this.#replaceLinks(rows);
        break;
      case 'address':
        this.#replaceKeyed(this.addresses, what, rows);
        break;
      case 'rule':
        this.#replaceKeyed(this.rules, what, rows);
        break;
      case 'route':
        this.#replaceRoutes(rows);
        break;
      case 'neighbour':
        this.#replaceFailed(rows);
    }
  }

  /** Returns whether the address is the next hop of a route. */
  isGateway(address: string): boolean {
    this.#gateways ??= new Set(
      [...this.routes.values()].flatMap((routes) =>
        routes.flatMap(({ hops }) => hops.flatMap(({ gateway }) => gateway ?? [])),
      ),
    );
    return this.#gateways.has(address);
  }

  #link(link: Link, gone: boolean): What | undefined {
    const before = this.links.get(link.ifindex);
    if (gone) {
      if (!this.links.delete(link.ifindex)) return undefined;
      this.#told({ what: 'link', change: 'removed', link, ...(before && { before }) });
      return this.#routesOf(link);
    }
    if (before === undefined && !this.#hasRoom(this.links, 'link')) return undefined;
    this.links.set(link.ifindex, link);
    for (const change of linkChanges(link, before)) {
      this.#told({ what: 'link', change, link, ...(before && { before }) });
    }
    return before?.up === true && !link.up ? this.#routesOf(link) : undefined;
  }

  #routesOf({ ifindex }: Link): What | undefined {
    return this.#routed.has(ifindex) ? 'route' : undefined;
  }

  #keyed(known: Map<string, Family>, { what, key, family, gone }: Keyed): void {
    const place = `${family} ${key}`;
    if (gone) {
      if (known.delete(place)) this.#told({ what, change: 'removed', family });
    } else if (!known.has(place) && this.#hasRoom(known, what)) {
      known.set(place, family);
      this.#told({ what, change: 'added', family });
    }
  }

  #route(route: Route, gone: boolean, replaces: boolean): What | undefined {
    const before = this.routes.get(route.key) ?? [];
    const known = before.find(({ value }) => value === route.value);
    if (gone) {
      if (before.length > 0 && known === undefined) return 'route';
      this.#setRoutes(
        route.key,
        before,
        before.filter((one) => one !== known),
      );
      return undefined;
    }
    if (known !== undefined && (!replaces || before.length === 1)) return undefined;
    if (before.length === 0 && !this.#hasRoom(this.routes, 'route')) return undefined;
    this.#setRoutes(route.key, before, replaces ? [route] : [...before, route]);
    return undefined;
  }

  #setRoutes(key: string, before: readonly Route[], now: readonly Route[]): void {
    this.#gateways = undefined;
    const last = now.at(-1);
    const first = before[0];
    if (last !== undefined) {
      this.routes.set(key, [...now]);
      this.#note(now);
      const change = first === undefined ? 'added' : 'replaced';
      this.#told({ what: 'route', change, route: last, ...(first && { before: first }) });
    } else if (first !== undefined) {
      this.routes.delete(key);
      this.#told({ what: 'route', change: 'removed', route: first, before: first });
    }
  }

  /** Records the devices of the routes, because routes must be read again when their device is removed or goes down. */
  #note(routes: readonly Route[]): void {
    for (const { hops } of routes) for (const { ifindex } of hops) if (ifindex !== undefined) this.#routed.add(ifindex);
  }

  #neighbour(notice: Extract<Notice, { what: 'neighbour' }>): void {
    const { family, address, ifindex, gone, failed } = notice;
    const place = `${ifindex} ${address}`;
    if (gone || !failed) {
      this.failed.delete(place);
      return;
    }
    if (this.failed.has(place) || this.#hasRoom(this.failed, 'neighbour')) this.failed.set(place, family);
    this.#told({ what: 'neighbour', family, address, device: this.links.get(ifindex) });
  }

  #replaceLinks(rows: readonly Notice[]): void {
    const links = rows.flatMap((row) => (row.what === 'link' ? [row.link] : []));
    const left = new Set(links.map(({ ifindex }) => ifindex));
    for (const link of this.links.values()) if (!left.has(link.ifindex)) this.#link(link, true);
    for (const link of links) this.#link(link, false);
  }

  #replaceKeyed(known: Map<string, Family>, what: 'address' | 'rule', rows: readonly Notice[]): void {
    const now = rows.filter((row): row is Keyed => row.what === what);
    const left = new Set(now.map(({ family, key }) => `${family} ${key}`));
    for (const [place, family] of known) {
      if (left.has(place)) continue;
      known.delete(place);
      this.#told({ what, change: 'removed', family });
    }
    for (const row of now) this.#keyed(known, row);
  }

  #replaceRoutes(rows: readonly Notice[]): void {
    const routes = rows.flatMap((row) => (row.what === 'route' ? [row.route] : []));
    const now = Map.groupBy(routes, ({ key }) => key);
    this.#routed.clear();
    for (const [key, before] of this.routes) if (!now.has(key)) this.#setRoutes(key, before, []);
    for (const [key, routesOfKey] of now) this.#replaceRoute(key, routesOfKey);
  }

  #replaceRoute(key: string, now: readonly Route[]): void {
    const before = this.routes.get(key);
    if (before === undefined && !this.#hasRoom(this.routes, 'route')) return;
    if (before === undefined || valuesOf(before) !== valuesOf(now)) this.#setRoutes(key, before ?? [], now);
    this.#note(now);
  }

  /** Reports only neighbours that were not stored as failed before. */
  #replaceFailed(rows: readonly Notice[]): void {
    const failed = rows.filter((row) => row.what === 'neighbour').filter((row) => row.failed);
    const left = new Set(failed.map(({ ifindex, address }) => `${ifindex} ${address}`));
    for (const place of this.failed.keys()) if (!left.has(place)) this.failed.delete(place);
    for (const row of failed) if (!this.failed.has(`${row.ifindex} ${row.address}`)) this.#neighbour(row);
  }

  #hasRoom(known: ReadonlyMap<unknown, unknown>, what: What): boolean {
    if (known.size < REMEMBERED_MAX) return true;
    this.#leftOut(what);
    return false;
  }
}

function linkChanges(link: Link, before: Link | undefined): LinkChange[] {
  if (before === undefined) return link.up ? ['added', 'up'] : ['added'];
  const changes: LinkChange[] = [];
  if (link.up !== before.up) changes.push(link.up ? 'up' : 'down');
  // A device that goes down also loses its carrier; this is not reported separately.
  else if (link.up && link.carrier !== before.carrier) changes.push('carrier');
  if (link.mtu !== before.mtu) changes.push('mtu');
  return changes;
}

function valuesOf(routes: readonly Route[]): string {
  return routes
    .map(({ value }) => value)
    .sort()
    .join('\n');
}
