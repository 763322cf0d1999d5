import type { EntityStatus } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { ProbeStatus } from '#api/probes.ts';
import type { RecordBatch } from '#api/records.ts';
import type { Trouble } from '#api/trouble.ts';
import type { Format } from '#collectors/exposition.ts';
import type { Content } from '#collectors/gzip.ts';
import type { Paths } from '#core/paths.ts';
import type { PodsUpdate } from '#pods/facts.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { DesiredKernel } from '#probe/contract.ts';
import type { FlowSelection, FlowsAnswer } from './flows.ts';

/** Messages between the main thread and the kernel thread. The threads share nothing else. */

export interface KernelOptions {
  readonly paths: Paths;
  /** Directory of the compiled BPF objects. */
  readonly objects: string;
  /** Name of this node, for events. */
  readonly node: string;
  /** Whether the Kubernetes API provides the names of Pods. */
  readonly kubernetes: boolean;
}

/** The kernel thread's part of a page. It is the last part, and includes the OpenMetrics end marker. */
export interface Page {
  readonly content: Content;
  readonly ledger: readonly KernelLedgerEntry[];
  /** When the page was rendered, in milliseconds of the kernel thread's monotonic clock. */
  readonly writtenMs: number;
}

/** How new rows are held back on a page for a scraper. */
export interface Scraping {
  /** Milliseconds for which a new row is shown at 0. */
  readonly holdMs: number;
  /** `writtenMs` of the oldest of the last pages that the scrapers have received; undefined if unknown. */
  readonly seenMs: number | undefined;
}

export interface PageOptions {
  /** Set if the page is for a scraper. */
  readonly scraping?: Scraping | undefined;
  readonly isCompressed?: boolean;
}

/** Arguments and result of each request to the kernel thread. */
export interface Questions {
  configure: { ask: DesiredKernel; answer: null };
  /** Sends the Pods of this node from the Kubernetes API. */
  namePods: { ask: PodsUpdate; answer: null };
  /** Sets the labels to show on every Pod. */
  labelPods: { ask: PodLabels; answer: null };
  /** Sets the networks of the Pods on this node. */
  tellPodNetworks: { ask: readonly string[]; answer: null };
  scrape: { ask: PageOptions & { readonly format: Format }; answer: Page };
  probes: { ask: null; answer: readonly ProbeStatus[] };
  discovery: { ask: null; answer: ProbeStatus };
  entities: { ask: null; answer: readonly EntityStatus[] };
  trouble: { ask: null; answer: Trouble };
  /** Collects first if the last collection is too old. */
  flows: { ask: FlowSelection; answer: FlowsAnswer };
  ledger: { ask: null; answer: readonly KernelLedgerEntry[] };
  /** Returns to the operating system the memory that a burst has left in the thread's heap. */
  giveBack: { ask: null; answer: null };
  /** Gets an immediate response, which shows that the thread does not hang. */
  ping: { ask: null; answer: null };
  /** Tells the thread that the response to the request with this ID is no longer wanted. */
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
  | { readonly kind: 'records'; readonly records: RecordBatch }
  | { readonly kind: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly message: string };
