import type { Severity } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { NODE } from './metric.ts';

/** JSON types of a field; `strings` is a list. */
export type FieldType = 'string' | 'number' | 'strings';

export interface FieldDescriptor {
  readonly type: FieldType;
  readonly help: string;
  /** True where the field is left out of events in which it is unknown. */
  readonly optional?: boolean;
}

/** Full description of an event type, in one place: docs/events.md is generated from it. */
export interface EventDescriptor {
  /** One sentence for an operator. */
  readonly help: string;
  readonly severity: Severity;
  /** When an event of this type is only `info`, in words: the probe sets it in each such event. */
  readonly info?: string;
  readonly fields: Readonly<Record<string, FieldDescriptor>>;
  /**
   * Fields that equal events have in common, beside network namespace, addresses and protocol. The first of equal events within a short
   * time is sent, and one more that stands for the rest.
   */
  readonly equalBy: readonly string[];
  /** Returns which end is the client, where the fields say so; otherwise the ports decide. */
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

/** Description of one anomaly by a probe; the collector adds the Pod that it happened to. */
export interface EventBody<E extends EventDescriptor> {
  /** Time in nanoseconds since the epoch, converted from the kernel's clock. */
  readonly timeNs: bigint;
  /** Subject of the event: a namespace, or the machine as a whole. */
  readonly netns: NetnsId | typeof NODE;
  /** Source, as `10.0.0.1:53` or `[::1]:53`; without a port where the protocol has none. */
  readonly src?: string;
  readonly dst?: string;
  /** Protocol in lower case: tcp, udp, icmp, … */
  readonly protocol?: string;
  readonly fields: Fields<E>;
  /** Severity, where it is lower than that of the type: see `EventDescriptor.info`. */
  readonly severity?: E extends { readonly info: string } ? 'info' : never;
  /** Sentence that an operator understands without the source code. */
  readonly message: string;
}

/** Hands one event to the collector. Never blocks and never throws. */
export type Publish<E extends EventSet> = <K extends keyof E & string>(type: K, body: EventBody<E[K]>) => void;
