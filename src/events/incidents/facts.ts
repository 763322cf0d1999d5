import type { EventRecord } from '#api/events.ts';

/** Maximum number of facts of each kind. Further ones replace the oldest. */
const FACTS_MAX = 1_000;
/** Time in milliseconds during which a fact may explain events. The probes check every 5 and 10 seconds. */
const QUEUE_MS = 10_000;
/** The event about the table of connection tracking is repeated at most once a minute. */
const TRACKING_MS = 70_000;
const ANY_ADDRESS: ReadonlySet<unknown> = new Set(['0.0.0.0', '::']);

/** Period of an incident, in milliseconds since the epoch. */
export interface Period {
  readonly firstMs: number;
  readonly lastMs: number;
}

/** Server of an incident. */
export interface ServerPlace {
  readonly address: string;
  readonly port: number;
  /** Whether the namespace of the event is that of the server. */
  isIn(event: EventRecord): boolean;
}

/**
 * Events about a whole namespace or listening socket, which explain events of connections. They may arrive before or
 * after these.
 */
export class Facts {
  readonly #queues: EventRecord[] = [];
  readonly #tracking: EventRecord[] = [];

  /** Returns whether the event is a fact. */
  take(event: EventRecord): boolean {
    const isTracking = event.type === 'conntrack_pressure' && Number(event['drops']) > 0;
    if (!isTracking && event.type !== 'accept_queue_full') return false;
    const facts = isTracking ? this.#tracking : this.#queues;
    facts.push(event);
    if (facts.length > FACTS_MAX) facts.shift();
    return true;
  }

  /** Returns whether the accept queue of the server was full at that time. */
  hasFullQueue(server: ServerPlace, period: Period): boolean {
    return this.#queues.some(
      (event) =>
        event['port'] === server.port &&
        isDuring(event, period, QUEUE_MS) &&
        (event['address'] === server.address || (ANY_ADDRESS.has(event['address']) && server.isIn(event))),
    );
  }

  /** Returns whether the accept queue of another port of the server was full at that time. */
  hasOtherFullQueue(server: ServerPlace, period: Period): boolean {
    return this.#queues.some(
      (event) =>
        event['port'] !== server.port &&
        isDuring(event, period, QUEUE_MS) &&
        (event['address'] === server.address || server.isIn(event)),
    );
  }

  /** Returns whether one of the namespaces could not track connections at that time. */
  hasFullTracking(netns: ReadonlySet<string>, period: Period): boolean {
    return this.#tracking.some((event) => netns.has(event.netns) && isDuring(event, period, TRACKING_MS));
  }
}

function isDuring(event: EventRecord, { firstMs, lastMs }: Period, tolerance: number): boolean {
  const at = Date.parse(event.time);
  return at >= firstMs - tolerance && at <= lastMs + tolerance;
}
