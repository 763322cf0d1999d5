import type { EventRecord } from '#api/events.ts';
import { causeOf } from '../incidents/causes.ts';
import type { PolicyFields } from './judge.ts';

/** Maximum number of events that wait for a verdict. The verdict of further ones is unknown. */
const WAITING_MAX = 1_000;
/** Time in milliseconds after which the verdict is unknown. */
const DEADLINE_MS = 3_000;
const LATE: PolicyFields = {
  policy: 'not known: the Kubernetes API did not answer in time',
  policyVerdict: 'unknown',
  policySure: 'seen',
};

export interface VerdictCallbacks {
  /** Called when an event starts (1) or stops (-1) waiting. */
  readonly held: (event: EventRecord, change: 1 | -1) => void;
  /** Called with the events that have waited. */
  readonly send: (events: readonly EventRecord[]) => void;
}

/** Holds events until it is known which policies apply to their connections. */
export class Verdicts implements Disposable {
  readonly #callbacks: VerdictCallbacks;
  /** Waiting events, with their deadlines. */
  readonly #waiting = new Map<EventRecord, NodeJS.Timeout>();

  constructor(callbacks: VerdictCallbacks) {
    this.#callbacks = callbacks;
  }

  /**
   * Returns whether the event waits for a verdict; if not, the caller sends it.
   * @param verdict undefined if no policy can have caused the event
   */
  awaits(event: EventRecord, verdict: Promise<PolicyFields | undefined> | undefined): boolean {
    if (verdict === undefined) return false;
    this.#callbacks.held(event, 1);
    if (this.#waiting.size >= WAITING_MAX) {
      this.#send(event, lateFields(event));
      return true;
    }
    const deadline = setTimeout(() => this.#release(event, lateFields(event)), DEADLINE_MS).unref();
    this.#waiting.set(event, deadline);
    void verdict.then((fields) => this.#release(event, fields));
    return true;
  }

  /** Sends the waiting events, whose verdict remains unknown. */
  [Symbol.dispose](): void {
    for (const event of [...this.#waiting.keys()]) this.#release(event, lateFields(event));
  }

  /** Sends an event, unless it was sent at its deadline. */
  #release(event: EventRecord, fields: Partial<PolicyFields> = {}): void {
    const deadline = this.#waiting.get(event);
    if (deadline === undefined) return;
    clearTimeout(deadline);
    this.#waiting.delete(event);
    this.#send(event, fields);
  }

  #send(event: EventRecord, fields: Partial<PolicyFields>): void {
    this.#callbacks.held(event, -1);
    this.#callbacks.send([{ ...event, ...fields }]);
  }
}

/** Returns the fields of an event without a verdict. A timeout names a policy only if one is known to cause it. */
function lateFields(event: EventRecord): Partial<PolicyFields> {
  return causeOf(event) === 'firewall' ? LATE : {};
}
