import {
  BpfError,
  type NetlinkAnswer,
  NetlinkSubscription,
  type NetlinkSubscriptionOptions,
  netlinkDump,
  netlinkDumpAsync,
  unavailable,
} from 'bpf-napi';
import type { Cycle } from '#core/cycle.ts';
import { Unsupported } from '#core/reader.ts';
import type { Malformed, SourceErrors } from '../errors.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsEntry } from '../netns.ts';
import { missingCapabilities } from '../procfs/capabilities.ts';
import { isGone } from '../procfs/read.ts';
import { refusalOf } from '../refusals.ts';

/** Maximum size of a response for one namespace in bytes. Sufficient for ten thousand devices with their qdiscs. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const TRIES = 3;

const EPERM = 1;
const EACCES = 13;
const ENOENT = 2;
const ESRCH = 3;
const ENODEV = 19;

/** A netlink request. */
export interface NetlinkRequest {
  /** Netlink protocol, from `NETLINK`. */
  readonly protocol: number;
  /** Name under which failures of the request are counted, such as `qdisc`. */
  readonly what: string;
  readonly request: Uint8Array;
}

/** A subscription to notifications. Failures after it was opened are counted. */
export interface SubscriptionRequest extends Omit<NetlinkSubscriptionOptions, 'onError'> {
  /** Name under which failures of the subscription are counted. */
  readonly what: string;
}

/** A request and the decoder for its response. */
export interface NetlinkQuestion<Answer> extends NetlinkRequest {
  readonly decode: (messages: Uint8Array, malformed: Malformed) => Answer;
}

/** Sends netlink requests in any namespace. Each request uses a new socket in the namespace. */
export class NetlinkClient {
  readonly #files: NetFiles;
  readonly #errors: SourceErrors;

  constructor(files: NetFiles, errors: SourceErrors) {
    this.#files = files;
    this.#errors = errors;
  }

  /**
   * Enters a namespace to check that this is permitted and that netlink sockets are available.
   * @throws {Unsupported} if the addon or CAP_SYS_ADMIN is missing, or a required system call is blocked by a filter
   */
  check(entry: NetnsEntry, cycle: Cycle): void {
    checkAddon();
    try {
      this.#files.enter(entry, cycle, () => undefined);
    } catch (error) {
      throw whyNotEntered(error);
    }
    const refusal = refusalOf('socket(AF_NETLINK)');
    if (refusal !== undefined) throw new Unsupported(refusal);
  }

  /**
   * Subscribes to notifications in a namespace. Enters the namespace only if the agent is in another one.
   * @throws {Unsupported} if the addon or a capability is missing, or netlink sockets are blocked by a filter
   * @throws {BpfError} NETLINK (EPERM if a group requires CAP_NET_ADMIN)
   * @throws if the namespace is gone
   */
  subscribe(entry: NetnsEntry, { what, ...options }: SubscriptionRequest, cycle: Cycle): NetlinkSubscription {
    checkAddon();
    const refusal = refusalOf('socket(AF_NETLINK)');
    if (refusal !== undefined) throw new Unsupported(refusal);
    const onError = (error: unknown) => this.#errors.count('netlink', what, error);
    let subscription: NetlinkSubscription | undefined;
    try {
      subscription = this.#files.inside(entry, cycle, () => new NetlinkSubscription({ ...options, onError }));
    } catch (error) {
      throw error instanceof BpfError && error.code === 'NETNS' ? whyNotEntered(error) : error;
    }
    if (subscription === undefined) throw new Error('the network namespace is gone');
    return subscription;
  }

  /**
   * Sends a request and decodes the response. Returns undefined if the namespace or the object is gone or the request
   * failed. Failures are counted.
   */
  ask<Answer>(entry: NetnsEntry, question: NetlinkQuestion<Answer>, cycle: Cycle): Answer | undefined {
    try {
      return this.demand(entry, question, cycle);
    } catch (error) {
      this.#count(question, error);
      return undefined;
    }
  }

  /** Whether the agent is in the namespace, or has the capability to enter other namespaces. */
  mayEnter(entry: NetnsEntry): boolean {
    return this.#files.mayEnter(entry);
  }

  /**
   * Like `ask`, but throws if the request fails. Returns undefined only if the namespace is gone.
   * @throws {BpfError} NETNS, NETLINK
   */
  demand<Answer>(entry: NetnsEntry, question: NetlinkQuestion<Answer>, cycle: Cycle): Answer | undefined {
    const malformed = this.malformed(question);
    return this.#files.inside(entry, cycle, () => question.decode(dump(question), malformed));
  }

  /**
   * Receives a long response in a worker thread and returns its messages; undefined if the namespace is gone or the
   * request failed.
   */
  async askLong(
    entry: NetnsEntry,
    question: NetlinkRequest,
    bytesMax: number,
    cycle: Cycle,
  ): Promise<Uint8Array | undefined> {
    try {
      for (let tries = 1; ; tries++) {
        const { protocol, request } = question;
        const asked = this.#files.inside(entry, cycle, () => ({
          answer: netlinkDumpAsync(protocol, request, bytesMax),
        }));
        const answer = await asked?.answer;
        if (answer === undefined || isWhole(answer, tries)) return answer?.messages;
      }
    } catch (error) {
      this.#count(question, error);
      return undefined;
    }
  }

  /** Returns a callback that counts malformed parts of the response. */
  malformed({ what }: Pick<NetlinkRequest, 'what'>): Malformed {
    return this.#errors.malformed('netlink', what);
  }

  #count({ what }: NetlinkRequest, error: unknown): void {
    if (isGone(error) || (error instanceof BpfError && [ENOENT, ESRCH, ENODEV].includes(error.errno))) return;
    this.#errors.count('netlink', what, error);
  }
}

function checkAddon(): void {
  const missing = unavailable();
  if (missing !== undefined) throw new Unsupported(`the addon cannot be loaded: ${missing}`);
}

function whyNotEntered(error: unknown): unknown {
  if (!(error instanceof BpfError) || (error.errno !== EPERM && error.errno !== EACCES)) return error;
  const [right] = missingCapabilities(['CAP_SYS_ADMIN']);
  const refusal = right === undefined ? refusalOf('setns') : undefined;
  const why = refusal ?? `entering a network namespace needs ${right ?? 'CAP_SYS_PTRACE'}`;
  return new Unsupported(why, { cause: error });
}

function dump({ protocol, request }: NetlinkRequest): Uint8Array {
  for (let tries = 1; ; tries++) {
    const answer = netlinkDump(protocol, request, ANSWER_BYTES_MAX);
    if (isWhole(answer, tries)) return answer.messages;
  }
}

/**
 * Returns whether a dump is complete. If the tables changed during the dump, rows may be missing and the dump must be
 * repeated.
 */
function isWhole({ interrupted }: NetlinkAnswer, tries: number): boolean {
  if (interrupted && tries === TRIES) throw new Error(`the answer was interrupted ${TRIES} times`);
  return !interrupted;
}
