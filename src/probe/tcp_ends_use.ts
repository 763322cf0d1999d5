import type { endConsumer } from '#bpf/generated/tcp_ends.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { CountRow } from './counts.ts';
import type { FlowRole, FlowRow } from './flow_row.ts';
import type { HistogramRow } from './histogram.ts';
import type { SocketEnd } from './socket_end.ts';
import type { KernelLedger, ProgramStatus, Uncounted } from './status.ts';

/** Receiver of reports: events of failed connections, events of degraded ones, records. */
export type EndConsumer = keyof typeof endConsumer;

/** Reports of ended connections that a probe wants. */
export interface EndReports {
  readonly consumer: EndConsumer;
  /** Reports per second that one owner may cause. */
  readonly rate: number;
  /** Whether all ends are reported to the consumer `record`, not only failed ones. */
  readonly all?: boolean;
  /** When the consumer `degraded` gets a report: any of these; undefined for never. */
  readonly thresholds?: Thresholds;
  onEnd(end: SocketEnd): void;
}

export interface Thresholds {
  /** Share of the sent segments that were retransmissions: 0 to 1. */
  readonly retransmits?: number | undefined;
  /** Share of the time with data to send in which the receiver's window was closed: 0 to 1. */
  readonly receiverLimited?: number | undefined;
  readonly roundTripSeconds?: number | undefined;
  /** Number of sent segments below which a connection is not judged. */
  readonly segments: number;
}

/** Parts of the programs that a probe wants. */
export interface TcpEndsUse {
  /** Name of the probe. */
  readonly probe: string;
  /** Roles whose rows it reads. */
  readonly roles?: readonly FlowRole[];
  /** Largest number of rows in all; the smallest one counts. */
  readonly rows?: number;
  readonly roundTrips?: boolean;
  /** Whether it reads failures and connection times. */
  readonly connects?: boolean;
  readonly reports?: readonly EndReports[];
}

/** Programs and maps: the first of the probes that use them reports them, and the others report none. */
interface Report {
  programs(): readonly ProgramStatus[];
  mapBytes(): Readonly<Record<string, number>>;
  uncounted(): Uncounted;
}

/** The part of a probe in the programs, until it is disposed. */
export interface TcpEndsUser extends AsyncDisposable {
  readonly report: Report;
  /** Reasons why the programs see less than they could. */
  readonly degraded: readonly string[];
  readonly hook: string;
  /** Returns the rows as of this cycle. @throws where the walk over the open sockets fails: the rows keep their values */
  rows(cycle: Cycle): Promise<Iterable<FlowRow>>;
  /** Forgets an ended row: a collection has counted its last values. */
  counted(row: FlowRow): void;
  /** Returns the rows of the last cycle. */
  lastRows(): Iterable<FlowRow>;
  readonly evicted: number;
  readonly size: number;
  failures(): readonly CountRow[];
  times(): readonly HistogramRow<NetnsId>[];
  ledger(consumer: EndConsumer): KernelLedger;
}

/** Offers the counts of ended TCP sockets to probes. */
export interface TcpEndsProvider {
  /** @throws {Unsupported} where the kernel cannot run the programs */
  use(use: TcpEndsUse): Promise<TcpEndsUser>;
}
