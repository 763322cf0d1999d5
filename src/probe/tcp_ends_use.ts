import type { endConsumer } from '#bpf/generated/tcp_ends.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { CountRow } from './counts.ts';
import type { FlowRole, FlowRow } from './flow_row.ts';
import type { HistogramRow } from './histogram.ts';
import type { SocketEnd } from './socket_end.ts';
import type { KernelLedger, NotShown, ProgramStatus, Uncounted } from './status.ts';

/** Receiver of reports: events of failed connections, events of degraded connections, or records. */
export type EndConsumer = keyof typeof endConsumer;

/** Reports of ended connections that a probe wants. */
export interface EndReports {
  readonly consumer: EndConsumer;
  /** Maximum number of reports per second per owner. */
  readonly rate: number;
  /** True if the consumer `record` receives all ends and not only failed ones. */
  readonly all?: boolean;
  /** Thresholds, each of which causes a report to the consumer `degraded`; undefined for no reports. */
  readonly thresholds?: Thresholds;
  onEnd(end: SocketEnd): void;
}

export interface Thresholds {
  /** Fraction of the sent segments that were retransmissions: 0 to 1. */
  readonly retransmits?: number | undefined;
  /** Fraction of the time with data to send in which the receiver's window was closed: 0 to 1. */
  readonly receiverLimited?: number | undefined;
  readonly roundTripSeconds?: number | undefined;
  /** Minimum number of segments that a connection must have sent to be judged. */
  readonly segments: number;
}

/** Parts of the programs that a probe uses. */
export interface TcpEndsUse {
  /** Name of the probe. */
  readonly probe: string;
  /** Roles of the rows that the probe reads. */
  readonly roles?: readonly FlowRole[];
  /** Maximum number of rows. If several probes set it, the smallest number applies. */
  readonly rows?: number;
  readonly roundTrips?: boolean;
  /** True if the probe reads failures and connection times. */
  readonly connects?: boolean;
  readonly reports?: readonly EndReports[];
}

/** Status of the shared programs and maps. It is empty for all probes but one, so that it is reported only once. */
interface Report {
  programs(): readonly ProgramStatus[];
  mapBytes(): Readonly<Record<string, number>>;
  uncounted(): Uncounted;
}

/** A probe's use of the programs, which ends when it is disposed. */
export interface TcpEndsUser extends AsyncDisposable {
  readonly report: Report;
  /** Reasons why the programs observe less than they could. */
  readonly degraded: readonly string[];
  readonly hook: string;
  /**
   * Returns the rows as of this cycle. If the walk over the open sockets fails, they keep their values, and `degraded`
   * gives the reason.
   */
  rows(cycle: Cycle): Promise<Iterable<FlowRow>>;
  /** Forgets an ended row after a collection has counted its last values. */
  counted(row: FlowRow): void;
  readonly evicted: number;
  readonly size: number;
  failures(): readonly CountRow[];
  /** Failures that no row of the page shows. */
  notShown(): NotShown | undefined;
  times(): readonly HistogramRow<NetnsId>[];
  ledger(consumer: EndConsumer): KernelLedger;
}

/** Provides counts of ended TCP sockets to probes. */
export interface TcpEndsProvider {
  /** @throws {Unsupported} if the kernel cannot run the programs */
  use(use: TcpEndsUse): Promise<TcpEndsUser>;
}
