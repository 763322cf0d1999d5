import type { BpfObject } from 'bpf-napi';
import { type Layout, udpKey, udpRole, udpRow } from '#bpf/generated/udpflow.ts';
import { nameOf } from '#bpf/layout.ts';
import { formatIp } from '#core/address.ts';
import { addCounters, type Counter, subtractCounters } from '#core/counter.ts';
import type { Owners } from '#probe/owners.ts';
import {
  type EarlierPeerRows,
  noPeerRows,
  type PeerCounts,
  PeerRows,
  type PeerRowsKind,
  type PeerRowsOptions,
  type ShownPeerRow,
} from '#probe/peer_rows.ts';
import { defineRetained, type Retained } from '#probe/retained.ts';

export const ROWS: Layout['map'] = 'udp_rows';
const REST: Layout['map'] = 'udp_rest';
/** Program that makes the other programs stop counting in a row, before the row is deleted. */
export const LEAVE: Layout['program'] = 'udp_leave';

export interface EdgeLabels extends Readonly<Record<string, string>> {
  readonly role: string;
  readonly peer: string;
  readonly port: string;
}

export interface UdpCounts {
  /** Bytes of payload. */
  readonly sentBytes: Counter;
  readonly receivedBytes: Counter;
  readonly sentDatagrams: Counter;
  readonly receivedDatagrams: Counter;
}

export const NOTHING: UdpCounts = { sentBytes: 0, receivedBytes: 0, sentDatagrams: 0, receivedDatagrams: 0 };

export type ShownRow = ShownPeerRow<EdgeLabels, UdpCounts>;

export const UDP_ROWS = defineRetained<EarlierPeerRows<EdgeLabels, UdpCounts>>(noPeerRows);

export const UDP_COUNTS: PeerCounts<UdpCounts> = {
  nothing: NOTHING,
  minus,
  weightOf: ({ sentDatagrams, receivedDatagrams }) => addCounters(sentDatagrams, receivedDatagrams),
};

const KIND: PeerRowsKind<EdgeLabels, UdpCounts> = {
  ...UDP_COUNTS,
  map: ROWS,
  leave: LEAVE,
  rests: { map: REST, labels: { role: '*', peer: '*', port: '*' } },
  labelsOf: (view, at) => ({
    role: nameOf(udpRole, udpKey.role(view, at)) ?? '',
    peer: formatIp(udpKey.peer(view, at)),
    port: String(udpKey.port(view, at)),
  }),
  countsOf: (view, at) => ({
    sentBytes: udpRow.sentBytes(view, at),
    receivedBytes: udpRow.receivedBytes(view, at),
    sentDatagrams: udpRow.sentDatagrams(view, at),
    receivedDatagrams: udpRow.receivedDatagrams(view, at),
  }),
};

/** Rows of UDP traffic. */
export class UdpRows extends PeerRows<EdgeLabels, UdpCounts> {
  constructor(
    object: BpfObject,
    owners: Owners,
    earlier: Retained<EarlierPeerRows<EdgeLabels, UdpCounts>>,
    options: PeerRowsOptions,
  ) {
    super(object, KIND, owners, earlier, options);
  }
}

export function minus(a: UdpCounts, b: UdpCounts): UdpCounts {
  if (b === NOTHING) return a;
  return {
    sentBytes: subtractCounters(a.sentBytes, b.sentBytes),
    receivedBytes: subtractCounters(a.receivedBytes, b.receivedBytes),
    sentDatagrams: subtractCounters(a.sentDatagrams, b.sentDatagrams),
    receivedDatagrams: subtractCounters(a.receivedDatagrams, b.receivedDatagrams),
  };
}
