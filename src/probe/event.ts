import type { Severity } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Private } from '#core/privacy.ts';
import type { NODE } from './metric.ts';

/** JSON type of a field; `strings` is an array of strings. */
export type FieldType = 'string' | 'number' | 'strings';

export interface FieldDescriptor {
  readonly type: FieldType;
  readonly help: string;
  /** Whether the field is omitted from events in which its value is unknown. */
  readonly optional?: boolean;
  /** Kind of data in the field, which the section `privacy` of the configuration may hide. */
  readonly private?: Private;
}

/** Complete description of an event type. docs/events.md is generated from it. */
export interface EventDescriptor {
  /** Explanation for operators, in one sentence. */
  readonly help: string;
  readonly severity: Severity;
  /** When an event of this type has the severity `info`. The probe sets the severity of each such event. */
  readonly info?: string;
  readonly fields: Readonly<Record<string, FieldDescriptor>>;
  /**
   * Fields by which duplicates are recognized, in addition to network namespace, addresses and protocol. If duplicates
   * occur within a short time, only the first is sent, followed by one event that summarizes the others.
   */
  readonly equalBy: readonly string[];
  /** Returns which end is the client. If the fields do not show it, returns undefined, and the ports decide. */
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

/** An event as a probe reports it. The collector adds the affected Pod. */
export interface EventBody<E extends EventDescriptor> {
  /** Time in nanoseconds since the epoch, converted from the kernel's clock. */
  readonly timeNs: bigint;
  /** Subject of the event: a namespace, or the node as a whole. */
  readonly netns: NetnsId | typeof NODE;
  /** Source address and port, such as `10.0.0.1:53` or `[::1]:53`. There is no port if the protocol has none. */
  readonly src?: string;
  readonly dst?: string;
  /** Protocol in lower case, such as `tcp`, `udp` or `icmp`. */
  readonly protocol?: string;
  readonly fields: Fields<E>;
  /** Set if the severity is lower than the default of the event type; see `EventDescriptor.info`. */
  readonly severity?: E extends { readonly info: string } ? 'info' : never;
  /** Sentence for operators, who may not know the source code. */
  readonly message: string;
}

/** Passes one event to the collector. Never blocks and never throws. */
export type Publish<E extends EventSet> = <K extends keyof E & string>(type: K, body: EventBody<E[K]>) => void;
