import type { EventRecord } from '#api/events.ts';
import type { RecordBatch, RecordName, RecordValues } from '#api/records.ts';
import type { Severity } from '#api/words.ts';
import { formatTimeNs } from '#core/kernel_time.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { EventBody, EventDescriptor, EventSet, Publish } from '#probe/event.ts';
import { NODE } from '#probe/metric.ts';
import {
  type Choices,
  noChoices,
  type OfferRecord,
  type RecordBody,
  RecordGate,
  type RecordRules,
} from '#probe/records.ts';

/**
 * Maximum number of records that wait until a scan finds the owner of their namespace. Any further record is sent
 * without an owner.
 */
const WAITING_MAX = 8_192;
/**
 * Maximum number of waiting records of one kind per namespace, so that one namespace cannot use up {@link WAITING_MAX}.
 */
const WAITING_OF_ONE_MAX = 128;
/** Minimum time in milliseconds between scans that are triggered by records. */
const REFRESH_EVERY_MS = 100;

export interface OutboxOptions {
  readonly node: string;
  readonly probes: readonly AnyProbe[];
  readonly find: (id: NetnsId) => Entity | undefined;
  /** Returns the names under which the owner of a namespace has resolved an address. */
  readonly namesOf: (netns: NetnsId, ip: string) => readonly string[];
  /** Scans for new namespaces. Never rejects. */
  readonly refresh: () => Promise<void>;
  /** Receives events in batches, in the order in which they became ready. */
  readonly send: (events: readonly EventRecord[]) => void;
  /** Receives records of other kinds in batches, in the order in which they became ready. */
  readonly sendRecords: (records: RecordBatch) => void;
}

type AnyBody = Omit<EventBody<EventDescriptor>, 'severity'> & { readonly severity?: Severity };
type Owner = Pick<Entity, 'kind' | 'namespace' | 'pod' | 'labels' | 'sharedNetns'>;
type Subject = NetnsId | typeof NODE;

interface Waiting {
  readonly netns: NetnsId;
  readonly finish: (owner: Owner | undefined) => void;
}

/** Counts of the records that a probe has submitted. */
export interface Offered {
  /** Records that a rule selected. */
  readonly selected: number;
  /** Selected records that exceeded the limit of their Pod. */
  readonly limited: number;
}

const NODE_OWNER: Owner = { kind: 'node', namespace: '', pod: '', labels: {} };

/**
 * Adds owners to events and other records, and passes them on in batches. A record from an unknown namespace waits for
 * a scan, which may find the owner.
 */
export class Outbox implements Disposable {
  readonly #options: OutboxOptions;
  #events: EventRecord[] = [];
  readonly #records = new Map<RecordName, RecordValues[RecordName][]>();
  #isSending = false;
  #waiting: Waiting[] = [];
  readonly #waitingOf = new Map<string, number>();
  /** Counts of records by probe. */
  readonly #choices = new Map<string, Choices>();
  #refreshing = false;
  #timer: NodeJS.Timeout | undefined;
  #refreshedMs = Number.NEGATIVE_INFINITY;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Sends the records that still wait for an owner, because there will be no further scan. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#attributeWaiting();
    this.#send();
  }

  publisher(probe: string): Publish<EventSet> {
    const events: EventSet = this.#options.probes.find(({ name }) => name === probe)?.events ?? {};
    return (type, body) => {
      const descriptor = events[type];
      if (descriptor !== undefined) this.#publish(probe, type, descriptor, body as AnyBody);
    };
  }

  /**
   * Returns a function through which one run of a probe submits its records.
   * @param rules undefined for a probe that has no records
   */
  recorder(probe: string, rules: RecordRules | undefined): OfferRecord {
    if (rules === undefined) return () => undefined;
    const choices = this.#choices.get(probe) ?? noChoices();
    this.#choices.set(probe, choices);
    const gate = new RecordGate(rules, { choices });
    return (body) => {
      if (gate.selects(body.candidate)) this.#record(probe, gate, body);
    };
  }

  /** Returns the counts of a probe's records, summed over all of its runs. */
  offered(probe: string): Offered {
    const { failed, slow, sample, limited } = this.#choices.get(probe) ?? noChoices();
    return { selected: failed + slow + sample, limited };
  }

  #publish(probe: string, type: string, descriptor: EventDescriptor, body: AnyBody): void {
    this.#attribute('event', body.netns, (owner) => {
      this.#events.push(this.#describe(probe, type, descriptor, body, owner));
      this.#sendSoon();
    });
  }

  #record(probe: string, gate: RecordGate, { kind, netns, timeNs, fields }: RecordBody): void {
    const dnsNames = fields.role === 'client' && netns !== NODE ? this.#options.namesOf(netns, fields.dst) : [];
    this.#attribute(kind, netns, (owner) => {
      if (!gate.admits(owner === undefined ? `netns ${netns}` : `${owner.namespace}/${owner.pod}`)) return;
      const batch = this.#records.get(kind) ?? [];
      this.#records.set(kind, batch);
      batch.push({
        time: formatTimeNs(timeNs),
        probe,
        node: this.#options.node,
        netns: nameOf(netns, owner),
        namespace: owner?.namespace ?? null,
        pod: owner?.pod ?? null,
        ...fields,
        ...(dnsNames.length === 0 ? {} : { dnsNames }),
      });
      this.#sendSoon();
    });
  }

  /**
   * Calls `finish` with the owner of the namespace. If the owner is unknown, waits for the next scan first, unless too
   * many records are already waiting.
   */
  #attribute(kind: string, netns: Subject, finish: Waiting['finish']): void {
    if (netns === NODE) {
      finish(NODE_OWNER);
      return;
    }
    const entity = this.#options.find(netns);
    if (entity === undefined && this.#waiting.length < WAITING_MAX) {
      const key = `${kind} ${netns}`;
      const others = this.#waitingOf.get(key) ?? 0;
      if (others < WAITING_OF_ONE_MAX) {
        this.#waiting.push({ netns, finish });
        this.#waitingOf.set(key, others + 1);
        this.#lookFor();
        return;
      }
    }
    finish(entity);
  }

  #describe(
    probe: string,
    type: string,
    { severity }: EventDescriptor,
    body: AnyBody,
    owner: Owner | undefined,
  ): EventRecord {
    const hasLabels = owner !== undefined && owner.kind !== 'node' && Object.keys(owner.labels).length > 0;
    return {
      time: formatTimeNs(body.timeNs),
      probe,
      type,
      severity: body.severity ?? severity,
      node: this.#options.node,
      netns: nameOf(body.netns, owner),
      namespace: owner?.namespace ?? null,
      pod: owner?.pod ?? null,
      ...(hasLabels ? { labels: owner.labels } : {}),
      ...(body.src === undefined ? {} : { src: body.src }),
      ...(body.dst === undefined ? {} : { dst: body.dst }),
      ...(body.protocol === undefined ? {} : { protocol: body.protocol }),
      ...body.fields,
      message: body.message,
    };
  }

  /** Collects the records of one turn of the event loop into a batch. */
  #sendSoon(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    queueMicrotask(() => this.#send());
  }

  #send(): void {
    this.#isSending = false;
    const events = this.#events;
    this.#events = [];
    if (events.length > 0) this.#options.send(events);
    // Each list contains the records of its kind only.
    for (const [kind, values] of this.#records) this.#options.sendRecords({ kind, values } as RecordBatch);
    this.#records.clear();
  }

  #attributeWaiting(): void {
    this.#waitingOf.clear();
    for (const { netns, finish } of this.#waiting.splice(0)) finish(this.#options.find(netns));
  }

  #lookFor(): void {
    if (this.#refreshing) return;
    this.#refreshing = true;
    const pauseMs = Math.max(0, this.#refreshedMs + REFRESH_EVERY_MS - performance.now());
    this.#timer = setTimeout(async () => {
      this.#refreshedMs = performance.now();
      await this.#options.refresh();
      this.#refreshing = false;
      this.#attributeWaiting();
    }, pauseMs);
  }
}

/**
 * Returns the namespace as text. For a Pod that shares the node's namespace, this is the node's namespace. For the
 * machine as a whole, it is empty.
 */
function nameOf(netns: Subject, owner: Owner | undefined): string {
  return netns === NODE ? '' : String(owner?.sharedNetns ?? netns);
}
