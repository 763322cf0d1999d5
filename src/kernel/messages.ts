import type { CountersReport } from '#api/counters.ts';
import type { EntityStatus } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { ProbeStatus } from '#api/probes.ts';
import type { RecordBatch } from '#api/records.ts';
import type { Trouble } from '#api/trouble.ts';
import type { Format } from '#collectors/exposition.ts';
import type { Content } from '#collectors/gzip.ts';
import type { Paths } from '#core/paths.ts';
import type { ServiceWorkload } from '#peers/peer.ts';
import type { PodsUpdate } from '#pods/facts.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { DesiredKernel } from '#probe/contract.ts';
import type { CountersSelection } from './counters.ts';
import type { FlowSelection, FlowsAnswer, MapAnswer } from './flows.ts';
import type { PeersAsk, PeersTold } from './peer_table.ts';

/** Messages between the main thread and the kernel thread. The threads share nothing else. */

export interface KernelOptions {
  readonly paths: Paths;
  /** Directory of the compiled BPF objects. */
  readonly objects: string;
  /** Name of this node, for events. */
  readonly node: string;
  /** Whether the Kubernetes API provides the names of Pods. */
  readonly kubernetes: boolean;
  /** Name of the abstract Unix socket on which commands announce themselves. Must be unique. */
  readonly toolSocket: string;
}

/** The kernel thread's part of a page. It is the last part, and includes the OpenMetrics end marker. */
export interface Page {
  readonly content: Content;
  readonly ledger: readonly KernelLedgerEntry[];
  /** When the page was rendered, in milliseconds of the kernel thread's monotonic clock. */
  readonly writtenMs: number;
}

/** How new series are held back on a page for a scraper. */
export interface Scraping {
  /** Milliseconds for which a new series is shown at 0. */
  readonly holdMs: number;
  /** `writtenMs` of the oldest among the pages that each scraper received last; undefined if unknown. */
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
  /** Reads the counters of the network namespaces of a Pod or of the node. */
  counters: { ask: CountersSelection; answer: CountersReport };
  /** Returns the selected edges. Collects first if the last collection is too old. */
  flows: { ask: FlowSelection; answer: FlowsAnswer };
  /** Sends the workloads behind Services. Collects first if the last collection is too old. */
  map: { ask: readonly ServiceWorkload[]; answer: MapAnswer };
  /** Answers the thread's `peers` requests, and reports later changes of the requested addresses. */
  tellPeers: { ask: PeersTold; answer: null };
  ledger: { ask: null; answer: readonly KernelLedgerEntry[] };
  /** Makes the thread return unused heap memory to the operating system after a burst. */
  giveBack: { ask: null; answer: null };
  /** Checks that the thread is not hanging. It responds immediately. */
  ping: { ask: null; answer: null };
  /** Cancels the request with this ID. */
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
  /** `tid` is the ID of the thread in the kernel; undefined if it is unknown. */
  | { readonly kind: 'ready'; readonly tid: number | undefined }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly message: string }
  | { readonly kind: 'events'; readonly events: readonly EventRecord[] }
  | { readonly kind: 'records'; readonly records: RecordBatch }
  | { readonly kind: 'peers'; readonly peers: PeersAsk }
  | { readonly kind: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly message: string };
