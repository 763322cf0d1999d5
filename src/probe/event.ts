import type { Severity } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { NODE } from './metric.ts';

/** JSON types of a field; `strings` is a list. */
export type FieldType = 'string' | 'number' | 'strings';

export interface FieldDescriptor {
  readonly type: FieldType;
  readonly help: string;
  /** Left out of the event where it is not known. */
  readonly optional?: boolean;
}

/** Everything about a type of event, once: docs/events.md is made from it. */
export interface EventDescriptor {
  /** One sentence for an operator. */
  readonly help: string;
  readonly severity: Severity;
  /** When an event of this type is no more than `info`, in words: the probe says so in each. */
  readonly info?: string;
  readonly fields: Readonly<Record<string, FieldDescriptor>>;
  /**
   * Fields that equal events have in common, beside network namespace, addresses and protocol: of equal events within a
   * short time the first is sent, and one more that stands for the rest.
   */
  readonly equalBy: readonly string[];
  /** Which end is the client, where the fields tell; else the ports are looked at. */
  readonly client?: (fields: Readonly<Record<string, unknown>>) => 'src' | 'dst' | undefined;
}

/** Keyed by event type. */
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

/** What a probe says of one anomaly; the collector adds whom it happened to. */
export interface EventBody<E extends EventDescriptor> {
  /** Wall clock, nanoseconds since the epoch, from the kernel's own time. */
  readonly timeNs: bigint;
  /** Whom it happened to: a namespace, or the machine as a whole. */
  readonly netns: NetnsId | typeof NODE;
  /** `10.0.0.1:53`, `[::1]:53`; without a port where the protocol has none. */
  readonly src?: string;
  readonly dst?: string;
  /** Lower case: tcp, udp, icmp, … */
  readonly protocol?: string;
  readonly fields: Fields<E>;
  /** Where it is less than its type: see `EventDescriptor.info`. */
  readonly severity?: E extends { readonly info: string } ? 'info' : never;
  /** A sentence that an operator understands without the source code. */
  readonly message: string;
}

/** Hands one event to the collector. Never blocks and never throws. */
export type Publish<E extends EventSet> = <K extends keyof E & string>(type: K, body: EventBody<E[K]>) => void;
