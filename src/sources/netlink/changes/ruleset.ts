import type { NetlinkBatch, NetlinkSubscription } from 'bpf-napi';
import { freeCycle } from '#core/cycle.ts';
import type { Malformed } from '../../errors.ts';
import type { NetnsEntry } from '../../netns.ts';
import type { NetlinkClient, NetlinkQuestion } from '../client.ts';
import {
  type Attributes,
  decodeAttributes,
  decodeMessages,
  decodeObjects,
  encodeRequest,
  NETLINK,
  type Span,
  text,
  u8,
  u32be,
} from '../message.ts';

/**
 * Follows changes of nftables rules, including those made by iptables-nft. For each transaction, the kernel sends one
 * notification per changed object, followed by one that contains the number of the new generation and the process that
 * committed it. Kernel: net/netfilter/nf_tables_api.c, nf_tables_gen_notify();
 * include/uapi/linux/netfilter/nf_tables.h. Numbers in attributes are big-endian.
 */

const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10 << 8;
const NFT_MSG_NEWGEN = NFNL_SUBSYS_NFTABLES | 15;
const NFT_MSG_GETGEN = NFNL_SUBSYS_NFTABLES | 16;

/** struct nfgenmsg: family, version, resource id. */
const NFGENMSG_BYTES = 4;
/** NFTA_TABLE_NAME. Messages about all other objects contain the table name in an attribute with the same number. */
const NFTA_TABLE = 1;
const NFTA_GEN_ID = 1;
const NFTA_GEN_PROC_PID = 2;
const NFTA_GEN_PROC_NAME = 3;

const FAMILIES: Readonly<Record<number, string>> = {
  1: 'inet',
  2: 'ip',
  3: 'arp',
  5: 'netdev',
  7: 'bridge',
  10: 'ip6',
};

/**
 * Size of the receive queue in bytes. Sufficient for kube-proxy, which replaces thousands of rules in one transaction.
 */
const QUEUE_BYTES = 4 * 1024 * 1024;
const DATAGRAM_BYTES_MAX = 64 * 1024;
const BUFFER_BYTES = 128 * 1024;
const TABLES_MAX = 64;

const GENERATION: NetlinkQuestion<number | undefined> = {
  protocol: NETLINK.netfilter,
  what: 'ruleset',
  request: encodeRequest(NFT_MSG_GETGEN, 0, new Uint8Array(NFGENMSG_BYTES)),
  decode: (messages, malformed) => {
    const [generation] = decodeObjects(messages, NFT_MSG_NEWGEN, NFGENMSG_BYTES, malformed);
    return u32be(generation?.attributes.get(NFTA_GEN_ID));
  },
};

/** A committed transaction. */
export interface RulesetChange {
  /** Changed tables without duplicates, such as `inet filter`. */
  readonly tables: readonly string[];
  readonly process: string;
  readonly pid: number;
}

/**
 * Follows rule changes in a namespace. The count is exact even if notifications are lost, because the kernel numbers
 * generations consecutively.
 */
export class RulesetChanges implements Disposable {
  readonly #client: NetlinkClient;
  readonly #entry: NetnsEntry;
  readonly #told: (change: RulesetChange) => void;
  readonly #malformed: Malformed;
  readonly #subscription: NetlinkSubscription;
  readonly #tables = new Set<string>();
  #generation: number | undefined;
  #changes = 0;

  /**
   * @param told called for each transaction
   * @throws {BpfError} NETLINK (EPERM without CAP_NET_ADMIN)
   * @throws {Unsupported} if the namespace cannot be entered
   */
  constructor(client: NetlinkClient, entry: NetnsEntry, told: (change: RulesetChange) => void) {
    this.#client = client;
    this.#entry = entry;
    this.#told = told;
    this.#malformed = client.malformed({ what: 'ruleset' });
    const options = {
      protocol: NETLINK.netfilter,
      what: 'ruleset',
      groups: [NFNLGRP_NFTABLES],
      queueBytes: QUEUE_BYTES,
      bufferBytes: BUFFER_BYTES,
      datagramBytesMax: DATAGRAM_BYTES_MAX,
      onBatch: (batch: NetlinkBatch) => this.#take(batch),
    };
    this.#subscription = client.subscribe(entry, options, freeCycle());
    this.#generation = client.ask(entry, GENERATION, freeCycle());
  }

  /** Number of transactions since the subscription started. */
  get changes(): number {
    return this.#changes;
  }

  [Symbol.dispose](): void {
    this.#subscription.close();
  }

  #take({ messages, overrun }: NetlinkBatch): void {
    for (const { type, payload } of decodeMessages(messages, this.#malformed)) {
      if ((type & 0xff00) !== NFNL_SUBSYS_NFTABLES) continue;
      const attributes = decodeAttributes(payload, NFGENMSG_BYTES);
      if (type === NFT_MSG_NEWGEN) this.#finish(attributes);
      else this.#change(payload, attributes);
    }
    if (!overrun) return;
    this.#tables.clear();
    this.#reach(this.#client.ask(this.#entry, GENERATION, freeCycle()));
  }

  #change(payload: Span, attributes: Attributes): void {
    const table = text(attributes.get(NFTA_TABLE));
    const family = u8(payload) ?? 0;
    if (table !== undefined && this.#tables.size < TABLES_MAX) {
      this.#tables.add(`${FAMILIES[family] ?? `family ${family}`} ${table}`);
    }
  }

  #finish(attributes: Attributes): void {
    this.#reach(u32be(attributes.get(NFTA_GEN_ID)));
    const process = text(attributes.get(NFTA_GEN_PROC_NAME)) ?? '';
    const pid = u32be(attributes.get(NFTA_GEN_PROC_PID)) ?? 0;
    if (this.#tables.size > 0) this.#told({ tables: [...this.#tables], process, pid });
    this.#tables.clear();
  }

  /** Advances to a generation. Lower numbers are ignored because they are in older notifications. */
  #reach(generation: number | undefined): void {
    if (generation === undefined) return;
    if (this.#generation !== undefined) this.#changes += Math.max(0, generation - this.#generation);
    this.#generation = Math.max(generation, this.#generation ?? 0);
  }
}
