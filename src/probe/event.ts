import type { Severity } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { NODE } from './metric.ts';

/** JSON type of a field; `strings` is an array of strings. */
export type FieldType = 'string' | 'number' | 'strings';

export interface FieldDescriptor {
  readonly type: FieldType;
  readonly help: string;
  /** True if the field is omitted from events in which its value is unknown. */
  readonly optional?: boolean;
}

/** Complete description of an event type. docs/events.md is generated from it. */
export interface EventDescriptor {
  /** One sentence for an operator. */
  readonly help: string;
  readonly severity: Severity;
  /**
   * Description of when an event of this type has the severity `info`. The probe sets the severity of each such event.
   */
  readonly info?: string;
  readonly fields: Readonly<Record<string, FieldDescriptor>>;
  /**
   * Fields that identify duplicate events, in addition to network namespace, addresses and protocol. Within a short
   * time, only the first of several duplicates is sent, followed by one event that summarizes all further duplicates.
   */
  readonly equalBy: readonly string[];
  /** Returns which end is the client, or undefined if the fields do not show it. The ports then decide. */
  readonly client?: (fields: Readonly<Record<string, unknown>>) => 'src' | 'dst' | undefined;
}

/** Event types by name. */
export type EventSet = Readonly<Record<string, EventDescriptor>>;

export function defineEvents<const E extends EventSet>(events: E): E {
  return events;
}

type FieldValue<F extends FieldDescriptor> = F['type'] extends 'number'
  ? number
  : F['type'] extends 'strings'
    ? readonly string[]
    : string;

type Fields<E extends EventDescriptor> = {
  readonly [K in keyof E['fields'] as E['fields'][K]['optional'] extends true ? never : K]: FieldValue<E['fields'][K]>;
} & {
  readonly [K in keyof E['fields'] as E['fields'][K]['optional'] extends true ? K : never]?: FieldValue<E['fields'][K]>;
};

/** One event as reported by a probe. The collector adds the affected Pod. */
export interface EventBody<E extends EventDescriptor> {
  /** Time in nanoseconds since the epoch, converted from the kernel's clock. */
  readonly timeNs: bigint;
  /** Subject of the event: a namespace, or the node as a whole. */
  readonly netns: NetnsId | typeof NODE;
  /** Source in the form `10.0.0.1:53` or `[::1]:53`. Has no port if the protocol has none. */
  readonly src?: string;
  readonly dst?: string;
  /** Protocol in lower case: tcp, udp, icmp, … */
  readonly protocol?: string;
  readonly fields: Fields<E>;
  /** Set if the severity is lower than that of the event type; see `EventDescriptor.info`. */
  readonly severity?: E extends { readonly info: string } ? 'info' : never;
  /** Sentence for operators, who do not know the source code. */
  readonly message: string;
}

/** Passes one event to the collector. Never blocks and never throws. */
export type Publish<E extends EventSet> = <K extends keyof E & string>(type: K, body: EventBody<E[K]>) => void;
