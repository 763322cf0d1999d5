import type { Cycle } from '../../collectors/cycle.ts';
import type { BpfSource } from '../bpf/source.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsIndex } from '../netns.ts';
import type { Cpus } from '../procfs/cpus.ts';
import { MibFiles } from './files.ts';
import { MibPass } from './pass.ts';
import type { MibSnapshot } from './snapshot.ts';
import type { MibTable } from './tables.ts';

export interface MibHealth {
  readonly reader: 'pass' | 'files';
  /** Why the files are read. */
  readonly reason: string | undefined;
}

interface User {
  readonly tables: readonly MibTable[];
}

/**
 * The SNMP counters of every namespace: by one pass in the kernel where it can run, else from the files. The kernel
 * program is there while somebody uses the source.
 */
export class MibSource {
  readonly #bpf: BpfSource;
  readonly #cpus: Cpus;
  readonly #files: MibFiles;
  readonly #users = new Set<User>();
  #pass: MibPass | undefined;
  #reason: string | undefined;
  #opened = false;
  #adjusting: Promise<void> = Promise.resolve();
  #last: { cycle: Cycle; snapshot: Promise<MibSnapshot> } | undefined;

  constructor(bpf: BpfSource, cpus: Cpus, netns: NetnsIndex, files: NetFiles) {
    this.#bpf = bpf;
    this.#cpus = cpus;
    this.#files = new MibFiles(netns, files);
  }

  /** To be disposed by who does not want these tables any more. */
  async use(tables: readonly MibTable[]): Promise<AsyncDisposable> {
    const user: User = { tables };
    this.#users.add(user);
    await this.#adjust();
    return {
      [Symbol.asyncDispose]: () => {
        this.#users.delete(user);
        return this.#adjust();
      },
    };
  }

  get health(): MibHealth {
    return { reader: this.#pass === undefined ? 'files' : 'pass', reason: this.#reason };
  }

  /** The counters of this cycle: one read, whoever asks. The snapshot is valid until the next cycle. */
  read(cycle: Cycle): Promise<MibSnapshot> {
    if (this.#last?.cycle !== cycle) this.#last = { cycle, snapshot: this.#read(cycle) };
    return this.#last.snapshot;
  }

  async #read(cycle: Cycle): Promise<MibSnapshot> {
    if (this.#pass !== undefined) {
      try {
        return await this.#pass.read(cycle);
      } catch (error) {
        cycle.signal.throwIfAborted();
        this.#reason = messageOf(error);
        this.#pass[Symbol.dispose]();
        this.#pass = undefined;
      }
    }
    return this.#files.read(new Set([...this.#users].flatMap(({ tables }) => tables)), cycle);
  }

  /** Opens for the first user, closes after the last: one step at a time, in the order of the calls. */
  #adjust(): Promise<void> {
    this.#adjusting = this.#adjusting.then(async () => {
      const wanted = this.#users.size > 0;
      if (wanted === this.#opened) return;
      this.#opened = wanted;
      if (wanted) await this.#openPass();
      else this.#closePass();
    });
    return this.#adjusting;
  }

  async #openPass(): Promise<void> {
    this.#reason = undefined;
    try {
      this.#pass = await MibPass.open(this.#bpf, this.#cpus);
    } catch (error) {
      this.#reason = messageOf(error);
    }
  }

  #closePass(): void {
    this.#pass?.[Symbol.dispose]();
    this.#pass = undefined;
    this.#last = undefined;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
