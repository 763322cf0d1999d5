import { BpfError } from 'bpf-napi';
import { FILE, type Layout, tcpListener, tcpProgress } from '#bpf/generated/tcpsummary.ts';
import { formatIp } from '#core/address.ts';
import { readCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import { KIND } from '../bpf/btf.ts';
import type { BpfSource, LoadedObject } from '../bpf/source.ts';
import type { SourceErrors } from '../errors.ts';
import type { NetlinkQuestion } from '../netlink/client.ts';
import { decodeListeners, LISTENER_REQUESTS, type ListenerRow } from '../netlink/inet_diag.ts';
import { NETLINK } from '../netlink/message.ts';
import type { Sources } from '../sources.ts';
import { type KernelWalk, WalkSource } from '../walk_source.ts';
import type { Listener } from './snapshot.ts';
import { FLOW_MAPS, type ListOwners, SLICE_US, visitWalked, WALK_MS, WALKS_MAX, walkSockets } from './walk.ts';

/** Maximum number of listening sockets with drops that are read for each owner. */
const LISTENERS_EACH = 64;
/** Maximum number of listening sockets with drops that are read in total. The map allocates memory on demand. */
export const LISTENERS_MAX = 256 * LISTENERS_EACH;
const FAMILY_IPV4 = 2;

const QUESTIONS = Object.values(LISTENER_REQUESTS).map(
  (request): NetlinkQuestion<ListenerRow[]> => ({
    protocol: NETLINK.sockDiag,
    what: 'tcp listeners',
    request,
    decode: decodeListeners,
  }),
);

/**
 * Reads the listening TCP sockets of every namespace that have dropped a segment: with a walk in the kernel if
 * possible, otherwise with SOCK_DIAG.
 */
export type ListenerSource = WalkSource<readonly Listener[]>;

/**
 * Creates a source that does not share its walk, because it may be read while a scrape reads the sockets.
 * @param list writes the owners of namespaces into the object until the result is disposed
 */
export function listenerSource(
  { bpf, netns, netlink }: Pick<Sources, 'bpf' | 'netns' | 'netlink'>,
  list: ListOwners,
  errors: SourceErrors,
  warn: (message: string) => void,
): ListenerSource {
  return new WalkSource({
    what: 'listening TCP sockets',
    warn,
    open: () => ListenerWalk.open(bpf, list, errors),
    otherwise: async (cycle) => {
      const listeners: Listener[] = [];
      for (const entry of netns.snapshot()) {
        const rows = QUESTIONS.flatMap((question) => netlink.ask(entry, question, cycle) ?? []);
        listeners.push(...rows.slice(0, LISTENERS_EACH).map((row) => listenerOf(entry.id, row)));
        const left = rows.length - LISTENERS_EACH;
        if (left > 0) errors.count('netlink', 'tcp listeners', leftOut(left));
        await cycle.pause();
      }
      return listeners;
    },
    otherwiseName: 'netlink',
    isTransient: (error) => !(error instanceof BpfError),
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
  return `${count} listening sockets with drops exceed the limit of ${LISTENERS_EACH} for each Pod`;
}

class ListenerWalk implements KernelWalk<readonly Listener[]> {
  readonly #errors: SourceErrors;
  readonly #object: LoadedObject<Layout>;
  readonly #listed: Disposable;
  readonly #progress = new Uint8Array(tcpProgress.SIZE);
  #walk = 0;

  private constructor(errors: SourceErrors, object: LoadedObject<Layout>, listed: Disposable) {
    this.#errors = errors;
    this.#object = object;
    this.#listed = listed;
  }

  /** @throws {Unsupported} if the kernel cannot run the program: before 6.1, without BTF, or without the capability */
  static async open(bpf: BpfSource, list: ListOwners, errors: SourceErrors): Promise<ListenerWalk> {
    const object = await bpf.load<Layout>({
      file: FILE,
      programs: ['tcp_count'],
      helpers: ['loop'],
      constants: {
        can_cast: bpf.btf().find(KIND.function, 'bpf_rdonly_cast') !== undefined,
        listeners_each: LISTENERS_EACH,
      },
      sizes: { tcp_rows: 1, tcp_accept_queues: 1 },
      onDemand: { tcp_listeners: LISTENERS_MAX },
      without: FLOW_MAPS,
    });
    return new ListenerWalk(errors, object, list(object));
  }

  /** @throws if the walk could not finish or its result may be wrong */
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
    this.#listed[Symbol.dispose]();
    this.#object[Symbol.dispose]();
  }
}
