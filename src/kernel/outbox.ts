import type { EventRecord } from '#api/events.ts';
import type { Severity } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import { formatTimeNs } from '#events/envelope.ts';
import type { Entity } from '#pods/entity.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { EventBody, EventDescriptor, EventSet, Publish } from '#probe/event.ts';
import { NODE } from '#probe/metric.ts';

/** Maximum number of events that wait for their namespace to be found. Further events are sent without an owner. */
const WAITING_MAX = 8_192;
/** Maximum number of waiting events per namespace, so that one namespace cannot use up {@link WAITING_MAX}. */
const WAITING_OF_ONE_MAX = 128;
/** Minimum interval, in milliseconds, between scans that events cause. */
const REFRESH_EVERY_MS = 100;

export interface OutboxOptions {
  readonly node: string;
  readonly probes: readonly AnyProbe[];
  readonly find: (id: NetnsId) => Entity | undefined;
  /** Scans for new namespaces. Never rejects. */
  readonly refresh: () => Promise<void>;
  /** Receives events in batches, in the order in which they became ready. */
  readonly send: (events: readonly EventRecord[]) => void;
}

type AnyBody = Omit<EventBody<EventDescriptor>, 'severity'> & { readonly severity?: Severity };
type Owner = Pick<Entity, 'kind' | 'namespace' | 'pod' | 'labels' | 'sharedNetns'>;

const NODE_OWNER: Owner = { kind: 'node', namespace: '', pod: '', labels: {} };

/**
 * Adds the owner to each event and passes events on in batches. An event of an unknown namespace waits for a scan, which
 * may find its owner.
 */
export class EventOutbox implements Disposable {
  readonly #options: OutboxOptions;
  #ready: EventRecord[] = [];
  #waiting: { readonly netns: NetnsId; readonly finish: (entity: Entity | undefined) => EventRecord }[] = [];
  readonly #waitingOf = new Map<NetnsId, number>();
  #refreshing = false;
  #refreshedMs = Number.NEGATIVE_INFINITY;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Sends the waiting events, because no further scan follows. */
  [Symbol.dispose](): void {
    this.#attributeWaiting();
    this.#send();
  }

  publisher(probe: string): Publish<EventSet> {
    const events: EventSet = this.#options.probes.find(({ name }) => name === probe)?.events ?? {};
    return (type, body) => {
      const descriptor = events[type];
      if (descriptor !== undefined) this.#add(probe, type, descriptor, body as AnyBody);
    };
  }

  #add(probe: string, type: string, descriptor: EventDescriptor, body: AnyBody): void {
    const finish = (owner: Owner | undefined) => this.#describe(probe, type, descriptor, body, owner);
    if (body.netns === NODE) {
      this.#push(finish(NODE_OWNER));
      return;
    }
    const entity = this.#options.find(body.netns);
    const others = this.#waitingOf.get(body.netns) ?? 0;
    if (entity === undefined && this.#waiting.length < WAITING_MAX && others < WAITING_OF_ONE_MAX) {
      this.#waiting.push({ netns: body.netns, finish });
      this.#waitingOf.set(body.netns, others + 1);
      this.#lookFor();
      return;
    }
    this.#push(finish(entity));
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
      netns: body.netns === NODE ? '' : String(owner?.sharedNetns ?? body.netns),
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

  /** Collects events of one turn of the event loop into a batch. */
  #push(record: EventRecord): void {
    this.#ready.push(record);
    if (this.#ready.length === 1) queueMicrotask(() => this.#send());
  }

  #send(): void {
    const events = this.#ready.splice(0);
    if (events.length > 0) this.#options.send(events);
  }

  #attributeWaiting(): void {
    this.#waitingOf.clear();
    for (const { netns, finish } of this.#waiting.splice(0)) this.#push(finish(this.#options.find(netns)));
  }

  #lookFor(): void {
    if (this.#refreshing) return;
    this.#refreshing = true;
    const pauseMs = Math.max(0, this.#refreshedMs + REFRESH_EVERY_MS - performance.now());
    setTimeout(async () => {
      this.#refreshedMs = performance.now();
      await this.#options.refresh();
      this.#refreshing = false;
      this.#attributeWaiting();
    }, pauseMs);
  }
}
