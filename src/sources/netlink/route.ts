import { BpfError, netlinkDump, unavailable } from 'bpf-napi';
import type { Cycle } from '../../collectors/cycle.ts';
import { Unsupported } from '../../probes/probe.ts';
import type { SourceErrors } from '../errors.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsEntry } from '../netns.ts';
import { isGone } from '../procfs/read.ts';
import { ADDRESS_REQUEST, decodeAddresses } from './address.ts';
import { decodeLinks, LINK_REQUEST, type LinkRow } from './link.ts';
import { decodeQdiscs, QDISC_REQUEST, type QdiscRow } from './qdisc.ts';

const NETLINK_ROUTE = 0;
/** Of one namespace: ten thousand devices with their qdiscs. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const TRIES = 3;

const EPERM = 1;
const ENOENT = 2;
const ESRCH = 3;

/** The route family of netlink, in any namespace. Each question opens a socket there and closes it. */
export class RouteSource {
  readonly #files: NetFiles;
  readonly #errors: SourceErrors;

  constructor(files: NetFiles, errors: SourceErrors) {
    this.#files = files;
    this.#errors = errors;
  }

  qdiscs(entry: NetnsEntry, cycle: Cycle): readonly QdiscRow[] {
    return this.#ask(entry, 'qdisc', QDISC_REQUEST, decodeQdiscs, cycle);
  }

  links(entry: NetnsEntry, cycle: Cycle): readonly LinkRow[] {
    return this.#ask(entry, 'link', LINK_REQUEST, decodeLinks, cycle);
  }

  addresses(entry: NetnsEntry, cycle: Cycle): readonly string[] {
    return this.#ask(entry, 'address', ADDRESS_REQUEST, decodeAddresses, cycle);
  }

  /**
   * Enters a namespace to see whether we may.
   * @throws {Unsupported} where the addon or CAP_SYS_ADMIN is missing
   */
  check(entry: NetnsEntry, cycle: Cycle): void {
    const missing = unavailable();
    if (missing !== undefined) throw new Unsupported(`the addon cannot be loaded: ${missing}`);
    try {
      this.#files.inside(entry, cycle, () => undefined);
    } catch (error) {
      if (!(error instanceof BpfError) || error.errno !== EPERM) throw error;
      throw new Unsupported('entering a network namespace needs CAP_SYS_ADMIN', { cause: error });
    }
  }

  #ask<Row>(
    entry: NetnsEntry,
    what: string,
    request: Uint8Array,
    decode: (messages: Uint8Array) => Row[],
    cycle: Cycle,
  ): readonly Row[] {
    try {
      return this.#files.inside(entry, cycle, () => decode(dump(request))) ?? [];
    } catch (error) {
      if (isGone(error) || (error instanceof BpfError && [ENOENT, ESRCH].includes(error.errno))) return [];
      this.#errors.count('netlink', what, error);
      return [];
    }
  }
}

/** A dump during which the tables changed may lack rows: it is asked for again. */
function dump(request: Uint8Array): Uint8Array {
  for (let tries = 1; ; tries++) {
    const { messages, interrupted } = netlinkDump(NETLINK_ROUTE, request, ANSWER_BYTES_MAX);
    if (!interrupted) return messages;
    if (tries === TRIES) throw new Error(`the answer was interrupted ${TRIES} times`);
  }
}
