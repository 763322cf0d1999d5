import type { EntityStatus } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { ProbeStatus } from '#api/probes.ts';
import type { Trouble } from '#api/trouble.ts';
import type { Format } from '#collectors/exposition.ts';
import type { Content } from '#collectors/gzip.ts';
import type { Paths } from '#core/paths.ts';
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

/** The kernel thread's part of a page, which is the last one: the end of an OpenMetrics page is in it. */
export interface Page {
  readonly content: Content;
  readonly ledger: readonly KernelLedgerEntry[];
  /** When it was written, by the clock of its thread. */
  readonly writtenMs: number;
}

/** How a scraper sees new rows. */
export interface Scraping {
  readonly holdMs: number;
  /** `writtenMs` of the page that every scraper has had since. */
  readonly seenMs: number | undefined;
}

export interface PageOptions {
  /** Where it is for a scraper. */
  readonly scraping?: Scraping | undefined;
  readonly isCompressed?: boolean;
}

/** A question, its arguments and its answer. */
export interface Questions {
  configure: { ask: DesiredKernel; answer: null };
  /** What the Kubernetes API says of the Pods of this node. */
  namePods: { ask: PodsUpdate; answer: null };
  /** Which labels every Pod shows. */
  labelPods: { ask: PodLabels; answer: null };
  scrape: { ask: PageOptions & { readonly format: Format }; answer: Page };
  probes: { ask: null; answer: readonly ProbeStatus[] };
  discovery: { ask: null; answer: ProbeStatus };
  entities: { ask: null; answer: readonly EntityStatus[] };
  trouble: { ask: null; answer: Trouble };
  ledger: { ask: null; answer: readonly KernelLedgerEntry[] };
  /** Gives back what a burst has left in the heap of the thread. */
  giveBack: { ask: null; answer: null };
  /** Answered at once by a thread that is alive. */
  ping: { ask: null; answer: null };
  /** Nobody waits any longer for the answer to the question of this id. */
  forget: { ask: number; answer: null };
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
