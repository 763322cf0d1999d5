import type { BpfMap } from 'bpf-napi';
import { flowConnection, flowFound, flowKey, flowRole, MAX_ENTRIES } from '#bpf/generated/common.ts';
import { bytesOf } from '#bpf/layout.ts';
import { formatIp } from '#core/address.ts';
import type { ConntrackLookup, LogMaps, SingleLookup } from '#sources/conntrack/lookup.ts';
import type { TrackedConnection } from '#sources/netlink/conntrack_lookup.ts';
import { keyText } from './flow_dump.ts';
import type { IntervalEnds } from './translation.ts';

const ENTRIES = MAX_ENTRIES.flow_log;
const { SIZE } = flowConnection;
/** Maximum number of connections that are looked up one by one in an interval, because each is a request of its own. */
const SINGLES_MAX = 1_000;
/**
 * States of the entry of a connection that has ended: from FIN_WAIT to CLOSE. In other states, the entry belongs to a
 * later connection with the same addresses (kernel: include/uapi/linux/netfilter/nf_conntrack_tcp.h).
 */
const [FIRST_ENDED, LAST_ENDED] = [4, 8];
/** Offset of an IPv4 address in its IPv4-mapped form, and the four bytes before it. */
const IPV4_AT = 12;
const MAPPED = Uint8Array.of(0, 0, 0xff, 0xff);

/** Ends of the connections of a row, while the log is being read. */
interface Reading {
  readonly ends: Set<string>;
  /** Addresses and ports of connections that have ended, as text. */
  readonly ended: Set<string>;
  failure: IntervalEnds['failure'];
}

/** Connections that were logged in an interval. */
export interface LoggedEnds {
  /** Ends by the text of the row's key. */
  readonly rows: ReadonlyMap<string, IntervalEnds>;
  /** Whether a program had not finished writing an entry, so that it is unknown to which row the entry belongs. */
  readonly isTorn: boolean;
}

/** Reads the log of connections whose peer's address may be a translation (`src/bpf/common/flow_log.bpf.h`). */
export class FlowLog {
  readonly #maps: LogMaps;
  #bytes = new Uint8Array();
  #view = new DataView(this.#bytes.buffer);
  #tail = 0;

  constructor(maps: LogMaps) {
    this.#maps = maps;
  }

  /**
   * Looks up the connections that were logged since the last call.
   * @throws {BpfError} if the table of connection tracking could not be searched; the connections are then lost
   */
  read(lookup: ConntrackLookup): LoggedEnds {
    const head = readNumber(this.#maps.flow_log_head);
    const first = this.#tail;
    if (head === first) return { rows: new Map(), isTorn: false };
    try {
      if (lookup.isBulk) lookup.run();
      this.#copy(Math.min(head, ENTRIES) * SIZE);
      return this.#collect(first, Math.min(head, first + ENTRIES), lookup.isBulk ? undefined : lookup);
    } finally {
      this.#tail = head;
      this.#maps.flow_log_tail.update(bytesOf(0), new Uint8Array(BigUint64Array.of(BigInt(head)).buffer));
    }
  }

  /** Copies the first bytes of the log. Most nodes never use all of it. */
  #copy(bytes: number): void {
    if (this.#bytes.length < bytes) {
      this.#bytes = new Uint8Array(bytes);
      this.#view = new DataView(this.#bytes.buffer);
    }
    this.#maps.flow_log.readMapped(this.#bytes, bytes);
  }

  #collect(first: number, end: number, single: SingleLookup | undefined): LoggedEnds {
    const rows = new Map<string, Reading>();
    let isTorn = false;
    let singles = 0;
    for (let index = first; index < end; index++) {
      const at = (index % ENTRIES) * SIZE;
      if (Number(flowConnection.number(this.#view, at)) !== index + 1) {
        isTorn = true;
        continue;
      }
      const row = this.#rowAt(rows, at);
      if (row.failure !== undefined || row.ends.size > 1) continue;
      if (single !== undefined && ++singles > SINGLES_MAX) row.failure = 'no_room';
      else this.#take(row, at, single);
    }
    return { rows, isTorn };
  }

  #rowAt(rows: Map<string, Reading>, at: number): Reading {
    const text = keyText(this.#view, at + flowConnection.offsets.key);
    let row = rows.get(text);
    if (row === undefined) {
      row = { ends: new Set(), ended: new Set(), failure: undefined };
      rows.set(text, row);
    }
    return row;
  }

  /** Adds the real end of a connection to its row. */
  #take(row: Reading, at: number, single: SingleLookup | undefined): void {
    const end = this.#isReused(row, at) ? undefined : this.#endAt(at, single);
    if (end === undefined) row.failure = 'untracked';
    else row.ends.add(end);
  }

  /** Returns whether two connections with the same addresses and ports have ended. Only the later one can be found. */
  #isReused({ ended }: Reading, at: number): boolean {
    if (flowConnection.closed(this.#view, at) === 0) return false;
    const { local, closed } = flowConnection.offsets;
    const text = Buffer.from(this.#bytes.buffer, at + local, closed - local).toString('latin1');
    if (ended.has(text)) return true;
    ended.add(text);
    return false;
  }

  #endAt(at: number, single: SingleLookup | undefined): string | undefined {
    const found = single === undefined ? this.#foundAt(at) : this.#find(at, single);
    if (found === undefined) return undefined;
    const { isReply, state, other } = found;
    const isServer = flowKey.role(this.#view, at + flowConnection.offsets.key) === flowRole.server;
    // An entry that began with a packet of the server was created in the middle of the connection, and does not show
    // the client.
    if (isReply !== isServer) return undefined;
    const hasEnded = flowConnection.closed(this.#view, at) !== 0;
    return hasEnded && (state < FIRST_ENDED || state > LAST_ENDED) ? undefined : formatIp(other);
  }

  /** Returns what the program has found. */
  #foundAt(at: number): TrackedConnection | undefined {
    const found = flowConnection.found(this.#view, at);
    if (found !== flowFound.original && found !== flowFound.reply) return undefined;
    return {
      isReply: found === flowFound.reply,
      state: flowConnection.state(this.#view, at),
      other: flowConnection.other(this.#view, at),
    };
  }

  #find(at: number, single: SingleLookup): TrackedConnection | undefined {
    const peer = flowKey.peer(this.#view, at + flowConnection.offsets.key);
    return single.find({
      local: unmapped(flowConnection.local(this.#view, at)),
      localPort: flowConnection.localPort(this.#view, at),
      peer: unmapped(peer),
      peerPort: flowConnection.peerPort(this.#view, at),
    });
  }
}

/** Returns the four bytes of an IPv4-mapped address, and other addresses as they are. */
function unmapped(address: Uint8Array): Uint8Array {
  const isMapped =
    address.subarray(0, IPV4_AT - MAPPED.length).every((byte) => byte === 0) &&
    MAPPED.every((byte, index) => address[IPV4_AT - MAPPED.length + index] === byte);
  return isMapped ? address.subarray(IPV4_AT) : address;
}

function readNumber(map: BpfMap): number {
  const value = new Uint8Array(8);
  map.lookup(bytesOf(0), value);
  return Number(new DataView(value.buffer).getBigUint64(0, true));
}
