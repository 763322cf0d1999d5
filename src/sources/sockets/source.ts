import { BpfError } from 'bpf-napi';
import { type Cycle, freeCycle } from '../../collectors/cycle.ts';
import { Unsupported } from '../../probes/probe.ts';
import type { BpfSource } from '../bpf/source.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetlinkClient } from '../netlink/client.ts';
import type { NetnsIndex } from '../netns.ts';
import { TcpDiag } from './diag.ts';
import { TcpPass } from './pass.ts';
import type { TcpSnapshot } from './snapshot.ts';

export interface TcpHealth {
  readonly reader: 'pass' | 'netlink';
  /** Why the namespaces are asked over netlink. */
  readonly reason: string | undefined;
}

/** Reads the TCP sockets of every namespace, until disposed. */
export interface TcpReader extends Disposable {
  readonly health: TcpHealth;
  /** @throws where they could not be counted this time */
  read(cycle: Cycle): Promise<TcpSnapshot>;
}

/** The TCP sockets of every namespace: by one walk in the kernel where it can run, else by SOCK_DIAG in each. */
export class SocketSource {
  readonly #bpf: BpfSource;
  readonly #netns: NetnsIndex;
  readonly #netlink: NetlinkClient;
  readonly #diag: TcpDiag;

  constructor(bpf: BpfSource, netns: NetnsIndex, files: NetFiles, netlink: NetlinkClient) {
    this.#bpf = bpf;
    this.#netns = netns;
    this.#netlink = netlink;
    this.#diag = new TcpDiag(netns, files, netlink);
  }

  /** @throws {Unsupported} where neither can run */
  async openTcp(): Promise<TcpReader> {
    try {
      return new Reader(this.#diag, await TcpPass.open(this.#bpf, this.#netns.snapshot().length));
    } catch (error) {
      const reason = messageOf(error);
      this.#checkNetlink(reason);
      return new Reader(this.#diag, reason);
    }
  }

  #checkNetlink(reason: string): void {
    const { node } = this.#netns;
    try {
      if (node !== undefined) this.#netlink.check(node, freeCycle());
    } catch (error) {
      if (!(error instanceof Unsupported) || error.message === reason) throw error;
      throw new Unsupported(`${error.message}, and the walk in the kernel cannot run: ${reason}`, { cause: error });
    }
  }
}

class Reader implements TcpReader {
  readonly #diag: TcpDiag;
  /** Or why there is none. */
  #pass: TcpPass | string;

  constructor(diag: TcpDiag, pass: TcpPass | string) {
    this.#diag = diag;
    this.#pass = pass;
  }

  get health(): TcpHealth {
    const pass = this.#pass;
    return typeof pass === 'string' ? { reader: 'netlink', reason: pass } : { reader: 'pass', reason: undefined };
  }

  async read(cycle: Cycle): Promise<TcpSnapshot> {
    const pass = this.#pass;
    if (typeof pass === 'string') return this.#diag.read(cycle);
    try {
      return await pass.read(cycle);
    } catch (error) {
      // A walk that did not come to its end says nothing of the next one; and SOCK_DIAG would take longer.
      if (!(error instanceof BpfError) || error.code === 'BPF_CLOSED') throw error;
      pass[Symbol.dispose]();
      this.#pass = messageOf(error);
      return this.#diag.read(cycle);
    }
  }

  [Symbol.dispose](): void {
    if (typeof this.#pass !== 'string') this.#pass[Symbol.dispose]();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
