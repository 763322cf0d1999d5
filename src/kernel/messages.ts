import type { Format } from '#collectors/exposition.ts';
import type { ProbeStatus } from '#collectors/supervisor.ts';
import type { Paths } from '#core/paths.ts';
import type { EventRecord } from '#events/envelope.ts';
import type { EntityKind } from '#pods/entity.ts';
import type { PodsUpdate } from '#pods/facts.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { DesiredKernel } from '#probe/contract.ts';

/**
 * What passes between the main thread and the kernel thread, and nothing else does. Everything is plain data.
 */

export interface KernelOptions {
  readonly paths: Paths;
  /** Where the compiled BPF objects are. */
  readonly objects: string;
  /** Name of this node, for events. */
  readonly node: string;
  /** Names of Pods come from the Kubernetes API. */
  readonly kubernetes: boolean;
}

/** Events of one probe before they are given to the sinks, since the agent's start. */
export interface KernelLedgerEntry {
  readonly probe: string;
  /** Where they come to be, and are limited: in a program in the kernel, or where the probe looks at what it read. */
  readonly stage: 'kernel' | 'agent';
  readonly produced: number;
  readonly limited: number;
  readonly lost: number;
}

export interface Page {
  readonly chunks: readonly Uint8Array<ArrayBuffer>[];
  readonly ledger: readonly KernelLedgerEntry[];
}

/** An entity as the API shows it. */
export interface EntityStatus {
  readonly kind: EntityKind;
  readonly namespace: string;
  readonly pod: string;
  readonly netns: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
}

/** What tells of trouble of an entity, as the API shows it. */
export interface TroubleRow {
  readonly kind: EntityKind;
  readonly namespace: string;
  readonly pod: string;
  readonly netns: string;
  /** Its namespace is dead: these are its last values. */
  readonly gone: boolean;
  /** Sums over the labels of each metric of `metrics`; null where the probe is off, or the entity has no such number. */
  readonly values: readonly (number | null)[];
}

export interface Trouble {
  /** RFC 3339: when the values were collected. */
  readonly collected: string;
  /** Names of metrics. */
  readonly metrics: readonly string[];
  readonly entities: readonly TroubleRow[];
}

/** A question, its arguments and its answer. */
export interface Questions {
  configure: { ask: DesiredKernel; answer: null };
  /** What the Kubernetes API says of the Pods of this node. */
  namePods: { ask: PodsUpdate; answer: null };
  /** Which labels every Pod shows. */
  labelPods: { ask: PodLabels; answer: null };
  scrape: { ask: { format: Format }; answer: Page };
  probes: { ask: null; answer: readonly ProbeStatus[] };
  entities: { ask: null; answer: readonly EntityStatus[] };
  trouble: { ask: null; answer: Trouble };
  ledger: { ask: null; answer: readonly KernelLedgerEntry[] };
  /** Answered at once by a thread that is alive. */
  ping: { ask: null; answer: null };
  close: { ask: null; answer: null };
}

export type QuestionName = keyof Questions;

export interface Question<Name extends QuestionName = QuestionName> {
  readonly id: number;
  readonly name: Name;
  readonly ask: Questions[Name]['ask'];
}

export type FromKernel =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly message: string }
  | { readonly kind: 'events'; readonly events: readonly EventRecord[] }
  | { readonly kind: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly message: string };
