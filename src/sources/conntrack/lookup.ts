import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError, type BpfMap, type BpfObject } from 'bpf-napi';
import { FILE, type Layout } from '#bpf/generated/translations.ts';
import { freeCycle } from '#core/cycle.ts';
import { NotYet, Unsupported } from '#core/reader.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetlinkClient } from '../netlink/client.ts';
import { GLOBAL_STATS_REQUEST } from '../netlink/conntrack.ts';
import {
  type ConnectionTuple,
  decodeLookup,
  encodeLookup,
  type TrackedConnection,
} from '../netlink/conntrack_lookup.ts';
import { NETLINK } from '../netlink/message.ts';
import type { NetnsEntry } from '../netns.ts';
import type { Sources } from '../sources.ts';
import { explainRefusal, LIMIT, NO_CONNTRACK } from './reader.ts';

/** Maps with the log of connections. */
export type LogMaps = Readonly<Record<Extract<Layout['map'], `flow_log${string}`>, BpfMap>>;

/** Looks up all connections of the log that were not read yet, in the kernel. */
export interface BulkLookup extends Disposable {
  readonly isBulk: true;
  run(): void;
}

/** Looks up one connection at a time. */
export interface SingleLookup extends Disposable {
  readonly isBulk: false;
  /** Returns undefined if the table does not contain the connection. */
  find(tuple: ConnectionTuple): TrackedConnection | undefined;
}

/** A way to look up connections in the node's table of connection tracking. */
export type ConntrackLookup = BulkLookup | SingleLookup;

/** Sources that a look-up needs. */
export interface LookupSources extends Pick<Sources, 'bpf' | 'netns' | 'netlink' | 'files'> {
  readonly proc: string;
}

/** An Ethernet frame without content. The program does not read it. */
const FRAME = new Uint8Array(64);
const ENOENT = 2;

/**
 * Opens a program that looks up all logged connections at once or, if that is not possible, a netlink client that looks
 * them up one by one.
 * @throws {NotYet} if the kernel does not track connections, or not yet
 * @throws {Unsupported} if the table cannot be searched in any way; the message gives the reason
 */
export async function openLookup(
  sources: LookupSources,
  { flow_log, flow_log_head, flow_log_tail }: LogMaps,
): Promise<ConntrackLookup> {
  const { bpf, netns, netlink, files, proc } = sources;
  const limit = join(proc, LIMIT);
  // The path is checked first, because a netlink request would load the module.
  if (!existsSync(limit)) throw new NotYet(NO_CONNTRACK, () => existsSync(limit));
  const { node } = netns;
  if (node === undefined) throw new Unsupported('the network namespace of the node is unknown');
  try {
    const object = await bpf.load<Layout>({
      file: FILE,
      programs: ['flow_look_up'],
      helpers: ['loop'],
      shared: { flow_log, flow_log_head, flow_log_tail },
    });
    return new KernelLookup(object, files, node);
  } catch (error) {
    // Before 6.1, and without the right to read the types of a module, libbpf reports an unresolved function.
    const isRefused = error instanceof Unsupported || (error instanceof BpfError && error.code === 'BPF_LOAD');
    if (!isRefused) throw error;
  }
  return openNetlinkLookup(netlink, node);
}

function openNetlinkLookup(netlink: NetlinkClient, node: NetnsEntry): SingleLookup {
  try {
    const question = { protocol: NETLINK.netfilter, what: 'conntrack count', request: GLOBAL_STATS_REQUEST };
    netlink.demand(node, { ...question, decode: () => undefined }, freeCycle());
  } catch (error) {
    throw new Unsupported(explainRefusal(error, true), { cause: error });
  }
  return new NetlinkLookup(netlink, node);
}

class KernelLookup implements BulkLookup {
  readonly isBulk = true;
  readonly #object: BpfObject;
  readonly #files: NetFiles;
  readonly #node: NetnsEntry;

  constructor(object: BpfObject, files: NetFiles, node: NetnsEntry) {
    this.#object = object;
    this.#files = files;
    this.#node = node;
  }

  run(): void {
    this.#files.inside(this.#node, freeCycle(), () => this.#object.runPacket('flow_look_up', FRAME));
  }

  [Symbol.dispose](): void {
    this.#object.close();
  }
}

class NetlinkLookup implements SingleLookup {
  readonly isBulk = false;
  readonly #netlink: NetlinkClient;
  readonly #node: NetnsEntry;

  constructor(netlink: NetlinkClient, node: NetnsEntry) {
    this.#netlink = netlink;
    this.#node = node;
  }

  find(tuple: ConnectionTuple): TrackedConnection | undefined {
    try {
      return this.#netlink.demand(
        this.#node,
        {
          protocol: NETLINK.netfilter,
          what: 'conntrack entry',
          request: encodeLookup(tuple),
          decode: (messages, malformed) => decodeLookup(messages, tuple, malformed),
        },
        freeCycle(),
      );
    } catch (error) {
      if (error instanceof BpfError && error.errno === ENOENT) return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {}
}
