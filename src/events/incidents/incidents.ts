import type { EventRecord, Peer } from '#api/events.ts';
import type { Incident } from '#api/incidents.ts';
import type { IncidentCause } from '#api/words.ts';
import { addressOf, joinEndpoint, portOf } from '#core/address.ts';
import type { PeerLookup } from '#peers/peer.ts';
import { type Connection, ConnectionIds } from '../connection_id.ts';
import { causeOf, rankOf, textOf } from './causes.ts';
import { Facts } from './facts.ts';
import { OpenIncident } from './open_incident.ts';
import { CounterCheck, CounterReader, type ReadCounters } from './server_counters.ts';

/**
 * Maximum number of open incidents. The events of further connections belong to no incident, and are counted. The events
 * of a Pod open no further incident once that Pod has opened as many as there is room left for, so that a Pod that scans
 * ports always leaves room for others.
 */
export const OPEN_MAX = 1_000;
/** Time in milliseconds after its first event after which an incident is sent. */
const SETTLE_MS = 1_000;
/** Time in milliseconds without events after which an incident ends. */
const QUIET_MS = 30_000;
const SWEEP_MS = 250;
/** Maximum time in milliseconds that an incident without an answer waits for the counters of its server. */
const COUNTERS_MS = 3_000;
/** Maximum number of translated connections that are remembered. */
const TRANSLATED_MAX = 4_096;
const RADIX = 36;

export interface IncidentsOptions {
  /** Name of this node. */
  readonly node: string;
  /** Returns the lookup that finds the owners of addresses; undefined if events do not name their peers. */
  readonly peers: () => PeerLookup | undefined;
  /** Reads the counters of servers on this node. By default, they are unknown. */
  readonly counters?: ReadCounters | undefined;
  readonly send: (incidents: readonly Incident[]) => void;
  readonly now?: () => number;
}

interface Entry {
  readonly incident: OpenIncident;
  /** Pod of the event that opened the incident. */
  readonly opener: string;
  readonly openedMs: number;
  lastMs: number;
  /** Looks for a cause in the server's counters; undefined if it was not needed. */
  check: CounterCheck | undefined;
  /** Cause and number of events that the last record had; undefined if there was none. */
  said: { readonly cause: IncidentCause; readonly count: number } | undefined;
}

/**
 * Groups events of the same connection into incidents. An incident is sent one second after its first event, again if a
 * stronger cause turns up, and when it ends. The events themselves are not changed.
 */
export class Incidents implements Disposable {
  readonly #options: IncidentsOptions;
  readonly #now: () => number;
  readonly #ids = new ConnectionIds();
  readonly #facts = new Facts();
  readonly #counters: CounterReader | undefined;
  readonly #open = new Map<string, Entry>();
  /** Number of open incidents by the Pod that has opened them. */
  readonly #openedBy = new Map<string, number>();
  /** Connections after translation, by the ID before. */
  readonly #translated = new Map<string, Connection>();
  readonly #totals = new Map<IncidentCause, number>();
  #quietMs = QUIET_MS;
  #timer: NodeJS.Timeout | undefined;
  #leftOut = 0;

  constructor(options: IncidentsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    if (options.counters !== undefined) this.#counters = new CounterReader(options.counters, this.#now);
  }

  /** Sets the length of the windows in which events are folded. An incident does not end before the next window does. */
  set foldMs(foldMs: number) {
    this.#quietMs = Math.max(QUIET_MS, 2 * foldMs);
  }

  /**
   * Adds an event to the incident of its connection. Ignores events of network namespaces that nobody on this node owns,
   * such as those of another cluster on the same machine: their addresses may be the same as those of Pods.
   * @param connection connection of the event; undefined if it has none
   */
  take(event: EventRecord, connection: Connection | undefined): void {
    if (event.pod === null) return;
    if (this.#facts.take(event)) {
      this.#settle(this.#now());
      return;
    }
    const cause = causeOf(event);
    if (connection === undefined || cause === undefined) return;
    this.#remember(event, connection);
    const id = this.#ids.of(connection);
    const entry = this.#entryOf(this.#translated.get(id) ?? connection, event);
    if (entry === undefined) {
      this.#leftOut += event.count ?? 1;
      return;
    }
    entry.incident.add(event, cause, id);
    entry.lastMs = this.#now();
    this.#checkCounters(entry);
  }

  /** Reads the counters of the server if all that is known is that it does not answer. */
  #checkCounters(entry: Entry): void {
    const { incident, openedMs } = entry;
    if (this.#counters === undefined || !incident.lacksAnswers) return;
    entry.check ??= new CounterCheck(this.#counters, incident.connection.server, openedMs);
    entry.check.update(this.#now());
    incident.counted = entry.check.cause;
  }

  /** Sends the incidents that are due, and ends those without recent events. */
  sweep(): void {
    const now = this.#now();
    for (const entry of this.#open.values()) this.#checkCounters(entry);
    this.#settle(now);
    const ended = [...this.#open].filter(([, { lastMs }]) => now - lastMs >= this.#quietMs);
    for (const [key, { opener }] of ended) {
      this.#open.delete(key);
      this.#openedBy.set(opener, (this.#openedBy.get(opener) ?? 0) - 1);
      if (this.#openedBy.get(opener) === 0) this.#openedBy.delete(opener);
    }
    this.#send(ended.map(([, entry]) => this.#say(entry, 'ended')));
    if (this.#open.size === 0) this.#rest();
  }

  /** Returns the open incidents as they are now. */
  list(): Incident[] {
    return [...this.#open.values()].map(({ incident }) => this.#describe(incident, 'open'));
  }

  get open(): number {
    return this.#open.size;
  }

  /** Number of incidents that were sent, by cause. An incident that got a stronger cause counts for each. */
  get totals(): ReadonlyMap<IncidentCause, number> {
    return this.#totals;
  }

  /** Number of events that belong to no incident because too many were open. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Sends the incidents that have changed since they were sent. They stay open for the reader. */
  [Symbol.dispose](): void {
    this.#rest();
    const changed = [...this.#open.values()].filter(({ incident, said }) => incident.count !== said?.count);
    this.#open.clear();
    this.#openedBy.clear();
    this.#send(changed.map((entry) => this.#say(entry, 'open')));
  }

  /** Remembers the translation of a dropped packet, because the socket of its client has only the address before it. */
  #remember({ connectionClient, connectionService }: EventRecord, connection: Connection): void {
    if (typeof connectionClient !== 'string' || typeof connectionService !== 'string') return;
    const port = portOf(connectionService);
    if (port === undefined) return;
    const { protocol } = connection;
    const before = { protocol, client: addressOf(connectionClient), server: addressOf(connectionService), port };
    if (this.#translated.size >= TRANSLATED_MAX) this.#translated.clear();
    this.#translated.set(this.#ids.of(before), connection);
  }

  /** @param event event of the connection */
  #entryOf(connection: Connection, { namespace, pod }: EventRecord): Entry | undefined {
    const key = this.#ids.of(connection);
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opener = `${namespace}/${pod}`;
    const opened = this.#openedBy.get(opener) ?? 0;
    if (opened >= OPEN_MAX - this.#open.size) return undefined;
    const now = this.#now();
    const entry = {
      incident: new OpenIncident(connection),
      opener,
      openedMs: now,
      lastMs: now,
      check: undefined,
      said: undefined,
    };
    this.#open.set(key, entry);
    this.#openedBy.set(opener, opened + 1);
    this.#timer ??= setInterval(() => this.sweep(), SWEEP_MS);
    this.#timer.unref();
    return entry;
  }

  /** Sends the incidents that are new, or have a stronger cause than when they were sent. */
  #settle(now: number): void {
    const due = [...this.#open.values()].filter((entry) => {
      const { incident, openedMs, said } = entry;
      if (said !== undefined) return rankOf(this.#causeOf(incident)) < rankOf(said.cause);
      return now - openedMs >= (this.#awaitsCounters(entry) ? COUNTERS_MS : SETTLE_MS);
    });
    this.#send(due.map((entry) => this.#say(entry, 'open')));
  }

  /** Whether the counters of the server may soon show why there is no answer. */
  #awaitsCounters({ incident, check }: Entry): boolean {
    return check?.isPending === true && this.#causeOf(incident) === 'no_answer';
  }

  #say(entry: Entry, state: Incident['state']): Incident {
    const record = this.#describe(entry.incident, state);
    const { cause, count } = record;
    if (entry.said?.cause !== cause) this.#totals.set(cause, (this.#totals.get(cause) ?? 0) + 1);
    entry.said = { cause, count };
    return record;
  }

  #send(incidents: readonly Incident[]): void {
    if (incidents.length > 0) this.#options.send(incidents);
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #causeOf(incident: OpenIncident): IncidentCause {
    const server = this.#options.peers()?.find(incident.connection.server);
    return incident.causeBy(
      this.#facts,
      ({ namespace, pod }) => server !== undefined && server.namespace === namespace && server.name === pod,
    );
  }

  #describe(incident: OpenIncident, state: Incident['state']): Incident {
    const { connection, firstTime, lastTime, lead, ports, count, ids, types, severity, policy } = incident;
    const lookup = this.#options.peers();
    const client = lookup?.find(connection.client);
    const server = lookup?.find(connection.server);
    const cause = this.#causeOf(incident);
    const text = textOf(cause, incident.lacksAnswers);
    const start = Date.parse(firstTime).toString(RADIX);
    return {
      time: lastTime,
      type: 'incident',
      id: `${this.#ids.of(connection)}-${start}`,
      state,
      cause,
      severity,
      node: this.#options.node,
      namespace: lead?.namespace ?? null,
      pod: lead?.pod ?? null,
      connectionIds: [...ids],
      ...(client === undefined ? {} : { client }),
      ...(server === undefined ? {} : { server }),
      src: connection.client,
      dst: joinEndpoint(connection.server, connection.port),
      protocol: connection.protocol,
      count,
      events: Object.fromEntries(types),
      ports,
      firstTime,
      lastTime,
      ...(policy === undefined ? {} : { policy }),
      message: sentence(connection, { client, server, text, count, ports, policy }),
    };
  }
}

interface Told {
  readonly client: Peer | undefined;
  readonly server: Peer | undefined;
  readonly text: string;
  readonly count: number;
  readonly ports: number;
  readonly policy: string | undefined;
}

function sentence({ client, server, port, protocol }: Connection, told: Told): string {
  const from = nameOf(told.client, client);
  const to = nameOf(told.server, server);
  const events = told.count === 1 ? '1 event' : `${told.count} events`;
  const policy = told.policy === undefined ? '' : `; ${told.policy}`;
  const connections = told.ports > 1 ? ` of ${told.ports} connections` : '';
  return `From ${from} to ${to} (${protocol}/${port}): ${told.text}${policy} (${events}${connections}).`;
}

function nameOf(peer: Peer | undefined, address: string): string {
  if (peer === undefined || peer.name === '') return address;
  return peer.namespace === '' ? peer.name : `${peer.namespace}/${peer.name}`;
}
