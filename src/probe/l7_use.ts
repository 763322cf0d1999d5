import type { BpfMap, BpfObject } from 'bpf-napi';
import type { l7Protocol } from '#bpf/generated/common.ts';
import type { PlaceRow } from './place_rows.ts';
import type { REQUEST_MAPS, RequestRows } from './request_rows.ts';
import type { ProgramStatus } from './status.ts';

/** Protocol for which there may be a parser. */
export type L7Protocol = Exclude<keyof typeof l7Protocol, 'unknown' | 'other'>;

/**
 * Programs of a parser. Kept segments had to wait for earlier ones, or arrived before their socket existed. The latter
 * are read when the first packet is sent.
 */
export interface L7Parser {
  /** Program for sent packets and kept segments (`cgroup_skb/egress`). */
  readonly sent: string;
  /** Program for received packets and kept segments (`cgroup_skb/ingress`). */
  readonly received: string;
}

export type L7Parsers = Readonly<Partial<Record<L7Protocol, L7Parser>>>;

/** A probe that parses application protocols. */
export interface L7Use {
  /** Name of the probe. */
  readonly probe: string;
  /** Maximum number of connections with a state. If several probes set it, the largest value applies. */
  readonly connections?: number;
}

/** Maps of the base that the programs of parsers use. */
export type L7Map =
  | 'l7_connections'
  | 'l7_kept'
  | 'l7_again_sent'
  | 'l7_again_received'
  | (typeof REQUEST_MAPS)[number];

/** Access of a probe to the packets. It ends when it is disposed, after the object of the parser was closed. */
export interface L7User extends AsyncDisposable {
  /** Maps that the programs of the parser must use instead of their own. */
  readonly maps: Readonly<Record<L7Map, BpfMap>>;
  /** Status of the programs that see the packets. It is empty for all probes but one. */
  readonly report: {
    programs(): readonly ProgramStatus[];
    mapBytes(): Readonly<Record<string, number>>;
  };
  readonly hook: string;
  /** Reasons why the programs observe less than they could. */
  readonly degraded: readonly string[];
  /** Makes the loaded programs of an object the parsers of protocols. */
  plug(object: BpfObject, parsers: L7Parsers): void;
  /** Returns the number of connections by protocol, and what was missed of them (struct l7_row). */
  connections(): Promise<readonly PlaceRow[]>;
  /** Requests of all parsers by edge. */
  readonly requests: Pick<RequestRows, 'find' | 'rows' | 'counted'>;
}

/** Passes the packets of application protocols to the parsers of probes. */
export interface L7Provider {
  /** Registers a probe. @throws {Unsupported} if the programs cannot be loaded or attached */
  use(use: L7Use): Promise<L7User>;
}
