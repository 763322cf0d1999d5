import type { EventRecord } from '#api/events.ts';
import type { EventsConfig } from '#config/events.ts';
import type { EventBus } from '#events/bus.ts';
import { Folder } from '#events/fold.ts';
import { PodLimiter } from '#events/limiter.ts';
import type { AnyProbe } from '#probe/contract.ts';

/**
 * What an event passes between the kernel thread and the sinks: equal ones are folded, then each Pod has its limit. In this
 * order, a Pod that repeats itself keeps its share for what else it has to say.
 */
export class EventPipeline implements Disposable {
  readonly #bus: EventBus;
  readonly #folder: Folder;
  readonly #limiter = new PodLimiter(1);

  constructor(bus: EventBus, probes: readonly AnyProbe[]) {
    this.#bus = bus;
    const types = new Map(probes.map(({ name, events }) => [name, events]));
    this.#folder = new Folder({
      equalBy: (probe, type) => types.get(probe)?.[type]?.equalBy,
      send: (events) => this.#limit(events),
      held: (probe, change) => bus.ledger.held(probe, change),
      folded: (probe) => bus.ledger.folded(probe),
    });
  }

  configure({ limit, foldMs }: EventsConfig): void {
    this.#limiter.perSecond = limit;
    this.#folder.windowMs = foldMs;
  }

  take(events: readonly EventRecord[]): void {
    this.#limit(events.filter((event) => this.#folder.take(event)));
  }

  get unfolded(): number {
    return this.#folder.unfolded;
  }

  /** Sends what is held. */
  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }

  #limit(events: readonly EventRecord[]): void {
    const admitted = events.filter((event) => {
      const admit = this.#limiter.admit(event);
      if (!admit) this.#bus.ledger.limited(event.probe);
      return admit;
    });
    if (admitted.length > 0) this.#bus.publish(admitted);
  }
}
