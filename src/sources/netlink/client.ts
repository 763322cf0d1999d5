import { BpfError, netlinkDump, unavailable } from 'bpf-napi';
import type { Cycle } from '../../collectors/cycle.ts';
import { Unsupported } from '../../probes/probe.ts';
import type { Garbled, SourceErrors } from '../errors.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsEntry } from '../netns.ts';
import { isGone } from '../procfs/read.ts';

/** Of one namespace: ten thousand devices with their qdiscs. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const TRIES = 3;

const EPERM = 1;
const ENOENT = 2;
const ESRCH = 3;

/** One kind of question: what is sent, and what the answer says. */
export interface NetlinkQuestion<Answer> {
  /** NETLINK_ROUTE 0, NETLINK_SOCK_DIAG 4, NETLINK_NETFILTER 12. */
  readonly protocol: number;
  /** Names the question where a failure is counted: `qdisc`. */
  readonly what: string;
  readonly request: Uint8Array;
  readonly decode: (messages: Uint8Array, garbled: Garbled) => Answer;
}

/** Asks the kernel over netlink in any namespace. Each question opens a socket there and closes it. */
export class NetlinkClient {
  readonly #files: NetFiles;
  readonly #errors: SourceErrors;

  constructor(files: NetFiles, errors: SourceErrors) {
    this.#files = files;
    this.#errors = errors;
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

  /** Undefined where the namespace is gone, or the question failed, which is counted. */
  ask<Answer>(entry: NetnsEntry, question: NetlinkQuestion<Answer>, cycle: Cycle): Answer | undefined {
    try {
      const garbled = this.#errors.garbled('netlink', question.what);
      return this.#files.inside(entry, cycle, () => question.decode(dump(question), garbled));
    } catch (error) {
      if (isGone(error) || (error instanceof BpfError && [ENOENT, ESRCH].includes(error.errno))) return undefined;
      this.#errors.count('netlink', question.what, error);
      return undefined;
    }
  }
}

/** A dump during which the tables changed may lack rows: it is asked for again. */
function dump({ protocol, request }: NetlinkQuestion<unknown>): Uint8Array {
  for (let tries = 1; ; tries++) {
    const { messages, interrupted } = netlinkDump(protocol, request, ANSWER_BYTES_MAX);
    if (!interrupted) return messages;
    if (tries === TRIES) throw new Error(`the answer was interrupted ${TRIES} times`);
  }
}
