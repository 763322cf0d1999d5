import { endsOf } from '#api/event_ends.ts';
import type { EventRecord } from '#api/events.ts';
import type { IncidentCause, Severity } from '#api/words.ts';
import { SEVERITIES } from '#api/words.ts';
import { portOf } from '#core/address.ts';
import type { Connection } from '../connection_id.ts';
import { mayLackTracking, rankOf, showsEstablished } from './causes.ts';
import type { Facts, Period, ServerPlace } from './facts.ts';

/** Maximum number of client ports that an incident counts. */
const PORTS_MAX = 256;
/** Maximum number of namespaces and of connection IDs that an incident keeps. */
const PLACES_MAX = 16;

/** An incident that has not ended. The order in which its events are added does not matter. */
export class OpenIncident {
  readonly connection: Connection;
  readonly ids = new Set<string>();
  readonly types = new Map<string, number>();
  readonly #ports = new Set<number>();
  /** Namespaces of the events. */
  readonly #places = new Set<string>();
  /** Namespaces that may have dropped packets because they could not track their connection. */
  readonly #untracked = new Set<string>();
  #lead: { readonly event: EventRecord; readonly cause: IncidentCause } | undefined;
  #firstTime = '';
  #lastTime = '';
  #severity = 0;
  #isEstablished = false;
  #policy: { readonly text: string; readonly isDenied: boolean; readonly time: string } | undefined;
  count = 0;
  /** Cause of missing answers according to the counters of the server; undefined if they show none. */
  counted: IncidentCause | undefined;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  add(event: EventRecord, cause: IncidentCause, id: string): void {
    const { time, firstTime = time, type, count = 1, netns, severity } = event;
    if (this.#firstTime === '' || firstTime < this.#firstTime) this.#firstTime = firstTime;
    if (time > this.#lastTime) this.#lastTime = time;
    this.count += count;
    this.types.set(type, (this.types.get(type) ?? 0) + count);
    this.#severity = Math.max(this.#severity, SEVERITIES.indexOf(severity));
    this.#isEstablished ||= showsEstablished(event);
    keep(this.ids, id);
    keep(this.#places, netns);
    if (mayLackTracking(event)) keep(this.#untracked, netns);
    for (const port of clientPorts(event, this.connection)) if (this.#ports.size < PORTS_MAX) this.#ports.add(port);
    this.#keepPolicy(event);
    if (this.#lead === undefined || isBefore(event, cause, this.#lead)) this.#lead = { event, cause };
  }

  /** The event with the strongest cause. */
  get lead(): EventRecord | undefined {
    return this.#lead?.event;
  }

  /** Verdict of the policies, as a sentence; undefined if no event has one. */
  get policy(): string | undefined {
    return this.#policy?.text;
  }

  get firstTime(): string {
    return this.#firstTime;
  }

  get lastTime(): string {
    return this.#lastTime;
  }

  get ports(): number {
    return this.#ports.size;
  }

  get severity(): Severity {
    return SEVERITIES[this.#severity] ?? 'warning';
  }

  /** A denial explains more than any other verdict. Among equals, the first one counts. */
  #keepPolicy({ policy, policyVerdict, time }: EventRecord): void {
    if (policy === undefined) return;
    const isDenied = policyVerdict === 'denied';
    const known = this.#policy;
    const isBetter = known === undefined || (isDenied === known.isDenied ? time < known.time : isDenied);
    if (isBetter) this.#policy = { text: policy, isDenied, time };
  }

  /** Whether all that the events show is that answers are missing. */
  get lacksAnswers(): boolean {
    return this.#lead?.cause === 'no_answer' && this.connection.protocol === 'tcp';
  }

  /** Counters do not show the port. The queue that overflows may be one that is known to be full. */
  #countedBy(facts: Facts, server: ServerPlace, period: Period): IncidentCause | undefined {
    return this.counted === 'accept_queue' && facts.hasOtherFullQueue(server, period) ? undefined : this.counted;
  }

  /**
   * Returns the cause, with the facts that are known by now.
   * @param isServer returns whether the owner of an event is the server
   */
  causeBy(facts: Facts, isServer: (event: EventRecord) => boolean): IncidentCause {
    const own = this.#lead?.cause ?? 'other_drop';
    const period = { firstMs: Date.parse(this.#firstTime), lastMs: Date.parse(this.#lastTime) };
    const server: ServerPlace = {
      address: this.connection.server,
      port: this.connection.port,
      isIn: (event) => this.#places.has(event.netns) || isServer(event),
    };
    // A firewall that lets no SYN through also explains missing connections beside a full queue.
    const mayBeQueue = own !== 'firewall' || this.#isEstablished;
    if (mayBeQueue && this.connection.protocol === 'tcp' && facts.hasFullQueue(server, period)) return 'accept_queue';
    if (own === 'firewall' && this.#untracked.size > 0 && facts.hasFullTracking(this.#untracked, period)) {
      return 'conntrack_full';
    }
    return own === 'no_answer' ? (this.#countedBy(facts, server, period) ?? own) : own;
  }
}

function keep(set: Set<string>, value: string): void {
  if (set.size < PLACES_MAX) set.add(value);
}

/** Orders events by the strength of their cause. Among equals, the first one counts, whenever it arrived. */
function isBefore(
  event: EventRecord,
  cause: IncidentCause,
  than: { readonly event: EventRecord; readonly cause: IncidentCause },
): boolean {
  const difference = rankOf(cause) - rankOf(than.cause);
  if (difference !== 0) return difference < 0;
  return event.time < than.event.time || (event.time === than.event.time && event.message < than.event.message);
}

/** Returns the client ports of an event, which are several if it is folded. */
function clientPorts(event: EventRecord, { port }: Connection): readonly number[] {
  const { ports } = event;
  const { src, dst } = endsOf(event);
  if (ports !== undefined) return ports;
  const [source, destination] = [src, dst].map((end) => (end === undefined ? undefined : portOf(end)));
  const client = source === port ? destination : source;
  return client === undefined ? [] : [client];
}
