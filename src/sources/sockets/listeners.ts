import { BpfError } from 'bpf-napi';
import { FILE, type Layout, MAX_ENTRIES, tcpListener, tcpProgress } from '#bpf/generated/tcpsummary.ts';
import { formatIp } from '#core/address.ts';
import { readCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import { KIND } from '../bpf/btf.ts';
import type { BpfSource, LoadedObject } from '../bpf/source.ts';
import type { SourceErrors } from '../errors.ts';
import type { NetlinkQuestion } from '../netlink/client.ts';
import { decodeListeners, LISTENER_REQUESTS, type ListenerRow } from '../netlink/inet_diag.ts';
import { type Pass, PassSource } from '../pass_source.ts';
import type { Sources } from '../sources.ts';
import type { Listener } from './snapshot.ts';
import { SLICE_US, visitWalked, WALK_MS, WALKS_MAX, walkSockets } from './walk.ts';

const LISTENERS_MAX = MAX_ENTRIES.tcp_listeners;
const FAMILY_IPV4 = 2;
const NETLINK_SOCK_DIAG = 4;

const QUESTIONS = Object.values(LISTENER_REQUESTS).map(
  (request): NetlinkQuestion<ListenerRow[]> => ({
    protocol: NETLINK_SOCK_DIAG,
    what: 'tcp listeners',
    request,
    decode: decodeListeners,
  }),
);

/** The listening TCP sockets of every namespace that have dropped something: by one walk in the kernel, else by SOCK_DIAG. */
export type ListenerSource = PassSource<readonly Listener[]>;

/** A reader of its own: it may be asked while a scrape reads the sockets. */
export function listenerSource(
  { bpf, netns, netlink }: Pick<Sources, 'bpf' | 'netns' | 'netlink'>,
  errors: SourceErrors,
  warn: (message: string) => void,
): ListenerSource {
  return new PassSource({
    what: 'listening TCP sockets',
    warn,
    open: () => ListenerPass.open(bpf, errors),
    otherwise: async (cycle) => {
      const listeners: Listener[] = [];
      for (const entry of netns.snapshot()) {
        for (const question of QUESTIONS) {
          for (const row of netlink.ask(entry, question, cycle) ?? []) listeners.push(listenerOf(entry.id, row));
        }
        await cycle.pause();
      }
      const left = listeners.length - LISTENERS_MAX;
      if (left > 0) errors.count('netlink', 'tcp listeners', leftOut(left));
      return listeners.slice(0, LISTENERS_MAX);
    },
    otherwiseName: 'netlink',
    mayPass: (error) => !(error instanceof BpfError),
  });
}

function listenerOf(netns: Listener['netns'], row: ListenerRow): Listener {
  const { address, port, cookie, drops, receiveQueue, sendQueue } = row;
  return {
    netns,
    key: String(cookie),
    address,
    port,
    drops,
    length: receiveQueue,
    limit: sendQueue,
    cgroup: undefined,
  };
}

function leftOut(count: number): string {
  return `${count} listening sockets that drop are past the ${LISTENERS_MAX} that there is room for`;
}

class ListenerPass implements Pass<readonly Listener[]> {
  readonly #errors: SourceErrors;
  readonly #object: LoadedObject<Layout>;
  readonly #progress = new Uint8Array(tcpProgress.SIZE);
  #walk = 0;

  private constructor(errors: SourceErrors, object: LoadedObject<Layout>) {
    this.#errors = errors;
    this.#object = object;
  }

  /** @throws {Unsupported} where the kernel cannot run the program: before 6.1, without BTF, without the right */
  static async open(bpf: BpfSource, errors: SourceErrors): Promise<ListenerPass> {
    const object = await bpf.load<Layout>({
      file: FILE,
      programs: ['tcp_count'],
      helpers: ['loop'],
      constants: { can_cast: bpf.btf().find(KIND.function, 'bpf_rdonly_cast') !== undefined },
      sizes: { tcp_rows: LISTENERS_MAX, tcp_accept_queues: 1 },
    });
    return new ListenerPass(errors, object);
  }

  /** @throws where the walk could not be ended, or cannot be trusted */
  async read(cycle: Cycle): Promise<readonly Listener[]> {
    const at = new DataView(this.#progress.buffer);
    for (let walks = 1; walks <= WALKS_MAX; walks++) {
      const walk = ++this.#walk;
      const pace = { sliceUs: SLICE_US, walkMs: WALK_MS };
      await walkSockets(this.#object, { walk, listenersOnly: true }, pace, this.#progress, cycle);
      if (tcpProgress.strayed(at, 0) > 0) continue;
      const left = tcpProgress.listenersFull(at, 0);
      if (left > 0) this.#errors.count('bpf', 'tcp listeners', leftOut(left));
      return this.#listeners();
    }
    throw new Error(`the listening sockets changed under ${WALKS_MAX} walks`);
  }

  #listeners(): Listener[] {
    const listeners: Listener[] = [];
    visitWalked(this.#object.map('tcp_listeners'), this.#walk, tcpListener.walk, (view, key, at) => {
      const bytes = tcpListener.address(view, at);
      const cgroup = tcpListener.cgroup(view, at);
      listeners.push({
        netns: asNetnsId(tcpListener.netns(view, at)),
        key: String(readCounter(view, key)),
        address: formatIp(tcpListener.family(view, at) === FAMILY_IPV4 ? bytes.subarray(0, 4) : bytes),
        port: tcpListener.port(view, at),
        length: tcpListener.length(view, at),
        limit: tcpListener.limit(view, at),
        drops: tcpListener.drops(view, at),
        cgroup: Number(cgroup) === 0 ? undefined : String(cgroup),
      });
    });
    return listeners;
  }

  [Symbol.dispose](): void {
    this.#object[Symbol.dispose]();
  }
}
