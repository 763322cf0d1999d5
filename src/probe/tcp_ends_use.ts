import type { endConsumer } from '#bpf/generated/tcp_ends.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { CountRow } from './counts.ts';
import type { FlowRole, FlowRow } from './flow_row.ts';
import type { RowIdentities } from './flow_table.ts';
import type { HistogramRow } from './histogram.ts';
import type { SocketEnd } from './socket_end.ts';
import type { KernelLedger, NotShown, ProgramStatus, Uncounted } from './status.ts';

/**
 * Purpose of a report about an ended connection: an event for a failed connection, an event for a degraded connection,
 * or a record.
 */
export type EndConsumer = keyof typeof endConsumer;

/** Reports of ended connections that a probe requests. */
export interface EndReports {
  readonly consumer: EndConsumer;
  /** Maximum number of reports per second for one owner. */
  readonly rate: number;
  /**
   * Whether the consumer `record` receives all ends, with the start times of the connections, instead of only failed
   * ones.
   */
  readonly all?: boolean;
  /** Thresholds of which each one can cause a report to the consumer `degraded`; undefined for no reports. */
  readonly thresholds?: Thresholds;
  onEnd(end: SocketEnd): void;
}

export interface Thresholds {
  /** Fraction of the sent segments that were retransmissions: 0 to 1. */
  readonly retransmits?: number | undefined;
  /** Fraction of the time with data to send during which the receive window of the peer was closed: 0 to 1. */
  readonly receiverLimited?: number | undefined;
  readonly roundTripSeconds?: number | undefined;
  /** Minimum number of sent segments for a connection to be compared with the thresholds. */
  readonly segments: number;
}

/** Parts of the programs that a probe uses. */
export interface TcpEndsUse {
  /** Name of the probe. */
  readonly probe: string;
  /** Roles of the rows that the probe reads. */
  readonly roles?: readonly FlowRole[];
  /** Maximum number of rows. If several probes set it, the smallest value applies. */
  readonly rows?: number;
  readonly roundTrips?: boolean;
  /** Identities of the peers of the rows; by default, the identity of a row never changes. */
  readonly identities?: RowIdentities;
  /** Whether the real ends behind translated addresses are to be found. */
  readonly translates?: boolean;
  /** Whether the probe reads failures and connection times. */
  readonly connects?: boolean;
  readonly reports?: readonly EndReports[];
}

/**
 * Status of the shared programs and maps. It is empty for all probes but one, so that it is not reported repeatedly.
 */
interface Report {
  programs(): readonly ProgramStatus[];
  mapBytes(): Readonly<Record<string, number>>;
  uncounted(): Uncounted;
}

/** Access of one probe to the programs. It ends when it is disposed. */
export interface TcpEndsUser extends AsyncDisposable {
  readonly report: Report;
  /** Changes the parts that the probe uses. The programs are not interrupted. */
  change(use: Pick<TcpEndsUse, 'rows' | 'reports'>): void;
  /** Reasons why the programs observe less than they could. */
  readonly degraded: readonly string[];
  readonly hook: string;
  /**
   * Returns the rows as of this cycle. If the walk over the open sockets fails, the rows keep their values, and
   * `degraded` contains the reason.
   */
  rows(cycle: Cycle): Promise<readonly FlowRow[]>;
  /** Drops an ended row after a collection has counted its last values. */
  counted(row: FlowRow): void;
  /**
   * Ends a row at its current totals because its subject has changed.
   * @returns the row in which further increases are counted
   */
  split(row: FlowRow): FlowRow;
  /**
   * Sets for which rows the real ends are to be found, if that is possible.
   * @param mayBeTranslated whether the address of a row's peer may be a translation
   */
  watch(mayBeTranslated: (row: FlowRow) => boolean): void;
  /** Whether real ends can be found. */
  readonly translates: boolean;
  /** Reason why real ends cannot be found although the kernel may translate addresses; undefined if there is none. */
  readonly untranslated: string | undefined;
  readonly evicted: number;
  readonly size: number;
  failures(): readonly CountRow[];
  /** Failures that are not in any row of the page. */
  notShown(): NotShown | undefined;
  times(): readonly HistogramRow<NetnsId>[];
  ledger(consumer: EndConsumer): KernelLedger;
}

/** Provides counts of ended TCP sockets to probes. */
export interface TcpEndsProvider {
  /** Registers a probe as a user of the programs. @throws {Unsupported} if the kernel cannot run them */
  use(use: TcpEndsUse): Promise<TcpEndsUser>;
}
