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
 * Messages between the main thread and the kernel thread, which exchange nothing else. Everything is plain data.
 */

export interface KernelOptions {
  readonly paths: Paths;
  /** Directory of the compiled BPF objects. */
  readonly objects: string;
  /** Name of this node, for events. */
  readonly node: string;
  /** Whether names of Pods come from the Kubernetes API. */
  readonly kubernetes: boolean;
}

/** The kernel thread's part of a page, which comes last and includes the end of an OpenMetrics page. */
export interface Page {
  readonly content: Content;
  readonly ledger: readonly KernelLedgerEntry[];
  /** Time at which it was written, by the clock of its thread. */
  readonly writtenMs: number;
}

/** Rules by which a scraper sees new rows. */
export interface Scraping {
  readonly holdMs: number;
  /** `writtenMs` of the page that every scraper has had since. */
  readonly seenMs: number | undefined;
}

export interface PageOptions {
  /** Set where the page is for a scraper. */
  readonly scraping?: Scraping | undefined;
  readonly isCompressed?: boolean;
}

/** A question, its arguments and its answer. */
export interface Questions {
  configure: { ask: DesiredKernel; answer: null };
  /** Sends the Pods of this node from the Kubernetes API. */
  namePods: { ask: PodsUpdate; answer: null };
  /** Sets the labels that every Pod shows. */
  labelPods: { ask: PodLabels; answer: null };
  /** Networks of the Pods on this node. */
  tellPodNetworks: { ask: readonly string[]; answer: null };
  scrape: { ask: PageOptions & { readonly format: Format }; answer: Page };
  probes: { ask: null; answer: readonly ProbeStatus[] };
  discovery: { ask: null; answer: ProbeStatus };
  entities: { ask: null; answer: readonly EntityStatus[] };
  trouble: { ask: null; answer: Trouble };
  ledger: { ask: null; answer: readonly KernelLedgerEntry[] };
  /** Returns the memory that a burst has left in the heap of the thread. */
  giveBack: { ask: null; answer: null };
  /** Answered at once by a live thread. */
  ping: { ask: null; answer: null };
  /** Says that the answer to the question of this ID is no longer wanted. */
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
