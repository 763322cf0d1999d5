import { podsOf } from '#api/event_pods.ts';
import type { EventRecord } from '#api/events.ts';
import { lastOfEach } from '#core/fair_share.ts';

export const EVENTS_MAX = 500;

export interface SeenEvent {
  /** ID in the stream. It identifies the run of the agent and the number of the event in this run. */
  readonly id: string;
  readonly event: EventRecord;
}

/** Filters for the events that the page shows. An empty filter matches everything. */
export interface Filter {
  readonly probe: string;
  readonly type: string;
  readonly severity: string;
  /** Substring of `namespace/pod`. */
  readonly pod: string;
  /** Substring of any text in the event. */
  readonly text: string;
}

export const NO_FILTER: Filter = { probe: '', type: '', severity: '', pod: '', text: '' };

/** The newest events of each Pod, in order of arrival with the latest first. */
export class EventLog {
  /** Active filters. Events that match them are removed last. */
  filter: Filter = NO_FILTER;
  #events: readonly SeenEvent[] = [];
  #lastId = '';
  #leftOut = 0;
  #missed = 0;
  #isResumed = false;

  get events(): readonly SeenEvent[] {
    return this.#events;
  }

  /** ID after which the next stream continues; empty before the first event. */
  get lastId(): string {
    return this.#lastId;
  }

  /** Number of old events that were removed. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Number of events that the agent no longer had when the page reconnected. */
  get missed(): number {
    return this.#missed;
  }

  /**
   * Must be called when a stream begins. A stream that continues after {@link lastId} lacks the events that the agent no
   * longer has. A gap at the beginning of the first stream is no loss, because the agent keeps only some old events.
   */
  begin(): void {
    this.#isResumed = this.#lastId !== '';
  }

  /** @returns number of new events */
  add(events: readonly SeenEvent[]): number {
    const fresh: SeenEvent[] = [];
    for (const seen of events) {
      const [run, number] = split(seen.id);
      const [lastRun, lastNumber] = split(this.#lastId);
      if (run === lastRun && number <= lastNumber) continue;
      if (this.#isResumed && run === lastRun) this.#missed += number - lastNumber - 1;
      this.#lastId = seen.id;
      fresh.push(seen);
    }
    if (fresh.length === 0) return 0;
    const all = [...fresh.reverse(), ...this.#events];
    this.#events = this.#cut(all);
    this.#leftOut += all.length - this.#events.length;
    return fresh.length;
  }

  #cut(all: readonly SeenEvent[]): readonly SeenEvent[] {
    if (all.length <= EVENTS_MAX) return all;
    const wanted: SeenEvent[] = [];
    const others: SeenEvent[] = [];
    for (const seen of all.toReversed()) (matches(seen, this.filter) ? wanted : others).push(seen);
    const kept = new Set(lastOfEach(wanted, ownerOf, EVENTS_MAX));
    for (const seen of lastOfEach(others, ownerOf, EVENTS_MAX - kept.size)) kept.add(seen);
    return all.filter((seen) => kept.has(seen));
  }
}

/** Events without a known Pod share one quota. */
function ownerOf({ event: { namespace, pod } }: SeenEvent): string {
  return pod === null ? '' : `${namespace}/${pod}`;
}

function split(id: string): [run: string, number: number] {
  const at = id.lastIndexOf('-');
  return [id.slice(0, at), Number(id.slice(at + 1))];
}

export function matches({ event }: SeenEvent, { probe, type, severity, pod, text }: Filter): boolean {
  return (
    (probe === '' || event.probe === probe) &&
    (type === '' || event.type === type) &&
    (severity === '' || event.severity === severity) &&
    (pod === '' || podsOf(event).some((one) => has(`${one.namespace ?? ''}/${one.pod ?? ''}`, pod))) &&
    (text === '' || has(JSON.stringify(event), text))
  );
}

function has(text: string, part: string): boolean {
  return text.toLowerCase().includes(part.trim().toLowerCase());
}

/**
 * Returns the values to offer for a filter, without duplicates. Includes the chosen value even if no event has this
 * value.
 */
export function choices(events: readonly SeenEvent[], key: 'probe' | 'type' | 'severity', chosen: string): string[] {
  const values = new Set(events.map(({ event }) => event[key]));
  if (chosen !== '') values.add(chosen as never);
  return [...values].sort();
}
