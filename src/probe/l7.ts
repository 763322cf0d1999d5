import type { BpfMap, BpfObject } from 'bpf-napi';
import { MAX_ENTRIES as COMMON_MAX_ENTRIES, l7Protocol } from '#bpf/generated/common.ts';
import { FILE, type Layout, l7Row, l7Wanted, MAX_ENTRIES } from '#bpf/generated/l7.ts';
import { bytesOf } from '#bpf/layout.ts';
import { addCounters } from '#core/counter.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import type { NetnsIndex } from '#sources/netns.ts';
import { EbpfInstance } from './ebpf.ts';
import type { SharedNaming } from './edge_labels.ts';
import { type HookTable, hook, openHooks } from './hooks.ts';
import type { HostPods } from './host_pods.ts';
import type { L7Parser, L7Parsers, L7Protocol, L7Provider, L7Use, L7User } from './l7_use.ts';
import { EVENT_LEDGER } from './ledger.ts';
import { OwnersMap } from './listed.ts';
import { LISTED_MAX, type Owners, SLOTS, sharesOf } from './owners.ts';
import { noPeerRows } from './peer_rows.ts';
import { PLACE_ROWS, PlaceRows } from './place_rows.ts';
import {
  type EarlierRequests,
  REQUEST_LEAVE,
  REQUEST_MAPS,
  REQUEST_RESTS,
  REQUEST_ROWS,
  REQUEST_ROWS_MAX,
  RequestRows,
} from './request_rows.ts';
import type { Retained } from './retained.ts';
import { Room } from './room.ts';

export const L7_HOOKS: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    { what: 'sent packets', choices: [{ hooks: [hook('cgroup_skb/egress', 1, 'l7_sent')] }] },
    { what: 'received packets', choices: [{ hooks: [hook('cgroup_skb/ingress', 1, 'l7_received')] }] },
    {
      what: 'ends of connections',
      optional: true,
      why: 'without it, the number of connections with a state is not limited',
      choices: [{ hooks: [hook('tp_btf/inet_sock_set_state', 3, 'l7_closed')] }],
    },
  ],
  later: ['l7_more_sent', 'l7_more_received'],
  calls: [REQUEST_LEAVE],
};

/** Maps that the programs of a parser use instead of their own. */
const SHARED = ['l7_connections', 'l7_kept', 'l7_again_sent', 'l7_again_received', ...REQUEST_MAPS] as const;

const ROWS: Layout['map'] = 'l7_rows';
/** Number of rows that are divided among the owners, and the number on kernels where the map is preallocated. */
const ROWS_MAX = 16_384;
const NO_LIMIT = 0xffff_ffff_ffff_ffffn;
/** Default maximum number of connections with a state. */
export const CONNECTIONS_MAX = 65_536;

/** Protocols that are recognized by their port. */
const BY_PORT: ReadonlySet<L7Protocol> = new Set(['datagram_dns', 'dns']);

/** Slots of a parser's programs. */
const SLOTS_OF = {
  sent: 'l7_on_sent',
  received: 'l7_on_received',
} as const satisfies Record<keyof L7Parser, Layout['map']>;

export interface L7Options {
  readonly sources: { readonly bpf: BpfSource; readonly netns: NetnsIndex };
  readonly owners: Owners;
  readonly hostPods: HostPods;
  readonly naming: SharedNaming;
  readonly proc: string;
}

interface User {
  readonly use: L7Use;
  /** Protocols whose parsers are in their slots. */
  protocols: readonly L7Protocol[];
}

/** The programs that see all packets, loaded and attached. */
interface Base extends Disposable {
  readonly object: BpfObject;
  readonly instance: EbpfInstance<PlaceRows>;
  readonly requests: RequestRows;
  /** Whether the ends of connections are reported, so that their number can be limited. */
  readonly seesEnds: boolean;
}

/**
 * Programs that see all packets and call the parsers of several probes. They are loaded and attached for the first
 * probe that has a parser, and closed after the last one.
 */
export class L7 implements L7Provider {
  readonly #options: L7Options;
  readonly #users = new Set<User>();
  readonly #earlier = {
    rows: { value: PLACE_ROWS.initial() },
    requests: { value: noPeerRows() } as Retained<EarlierRequests>,
    ledger: { value: EVENT_LEDGER.initial() },
    missed: { value: {} } as Retained<Readonly<Record<string, bigint>>>,
  };
  #base: Base | undefined;
  #moving: Promise<void> = Promise.resolve();

  constructor(options: L7Options) {
    this.#options = options;
  }

  /** Registers a probe. @throws {Unsupported} if the programs cannot be loaded or attached */
  async use(use: L7Use): Promise<L7User> {
    const user: User = { use, protocols: [] };
    await this.#move(async () => {
      this.#base ??= await this.#open();
      this.#users.add(user);
    });
    const base = this.#base as Base;
    const isReporter = () => [...this.#users][0] === user;
    return {
      maps: Object.fromEntries(SHARED.map((name) => [name, base.object.map(name)])) as Record<
        (typeof SHARED)[number],
        BpfMap
      >,
      report: {
        programs: () => (isReporter() ? base.instance.programs() : []),
        mapBytes: () => (isReporter() ? base.instance.mapBytes() : {}),
      },
      get hook() {
        return base.instance.running().health().reader;
      },
      get degraded() {
        return [...base.instance.running().health().degraded, ...base.requests.degraded];
      },
      connections: async () => {
        await base.instance.tally.find();
        return base.instance.tally.rows();
      },
      requests: base.requests,
      plug: (object, parsers) => {
        plug(base.object, object, parsers);
        user.protocols = [...user.protocols, ...(Object.keys(parsers) as L7Protocol[])];
        this.#want();
      },
      [Symbol.asyncDispose]: () =>
        this.#move(async () => {
          this.#users.delete(user);
          if (this.#users.size > 0) this.#want();
          else this.#close();
        }),
    };
  }

  /** Runs the steps one after another, in the order of the calls. */
  #move(step: () => Promise<void>): Promise<void> {
    const moved = this.#moving.then(step);
    this.#moving = moved.catch(() => undefined);
    return moved;
  }

  #close(): void {
    this.#base?.[Symbol.dispose]();
    this.#base = undefined;
  }

  #want(): void {
    const base = this.#base;
    if (base === undefined) return;
    const users = [...this.#users];
    const bytes = new Uint8Array(l7Wanted.SIZE);
    const view = new DataView(bytes.buffer);
    const limit = Math.max(...users.map(({ use }) => use.connections ?? CONNECTIONS_MAX));
    view.setUint32(l7Wanted.offsets.protocols, bitsOf(users.flatMap(({ protocols }) => protocols)), true);
    // An end that the kernel did not report would count against the limit forever.
    const missed = base.seesEnds ? base.object.programInfo('l7_closed').missed : 0n;
    view.setBigUint64(l7Wanted.offsets.connections, base.seesEnds ? BigInt(limit) + missed : NO_LIMIT, true);
    base.object.map('l7_wanted').update(bytesOf(0), bytes);
    const readsContent = users.some(({ protocols }) => protocols.some((name) => !BY_PORT.has(name)));
    base.object.map('l7.bss').update(bytesOf(0), bytesOf(Number(readsContent)));
  }

  async #open(): Promise<Base> {
    const { sources, owners, hostPods, naming, proc } = this.#options;
    const { bpf, netns } = sources;
    bpf.check();
    const onDemand = bpf.allocatesOnDemand();
    const shares = sharesOf(onDemand ? ROWS_MAX : MAX_ENTRIES.l7_rows);
    const open = await openHooks(bpf, L7_HOOKS, {
      file: FILE,
      onDemand: {
        owners: LISTED_MAX,
        [ROWS]: ROWS_MAX + SLOTS,
        [REQUEST_ROWS]: REQUEST_ROWS_MAX + REQUEST_RESTS * SLOTS,
      },
      constants: {
        owner_rows: shares.ofOwner,
        unlisted_rows: shares.ofUnlisted,
        ...(netns.node === undefined ? {} : { node_netns: BigInt(netns.node.id) }),
      },
    });
    const { object } = open;
    try {
      object.plug('l7_more_sent', object.map('l7_again_sent'), 0);
      object.plug('l7_more_received', object.map('l7_again_received'), 0);
    } catch (error) {
      object.close();
      throw error;
    }
    const earlier = this.#earlier;
    const tally = new PlaceRows(object, {
      map: ROWS,
      owners,
      hostPods,
      earlier: earlier.rows,
      countOf: (words) => words.slice(0, l7Row.connectionsCount).reduce(addCounters, 0),
    });
    const requests = new RequestRows(object, {
      owners,
      hostPods,
      earlier: earlier.requests,
      shares: sharesOf(onDemand ? REQUEST_ROWS_MAX : COMMON_MAX_ENTRIES.request_rows),
    });
    const want = () => requests.want(naming.current !== undefined);
    want();
    const wanted = naming.follow(want);
    const room = new Room(object, ROWS, shares, owners);
    const instance = new EbpfInstance(open, { proc, tally, earlier, room });
    const freed = (slot: number) => {
      tally.freed(slot);
      requests.freed(slot);
    };
    const listed = new OwnersMap(object, owners, { freed });
    const swept = netns.onSweep((isDead) => {
      instance.sweep(isDead);
      requests.sweepRows(isDead);
      this.#want();
    });
    return {
      object,
      instance,
      requests,
      seesEnds: open.programs.includes('l7_closed'),
      [Symbol.dispose]: () => {
        swept[Symbol.dispose]();
        wanted[Symbol.dispose]();
        object.detach();
        instance.remember();
        tally.remember();
        requests.remember();
        listed[Symbol.dispose]();
        object.close();
      },
    };
  }
}

function bitsOf(protocols: readonly L7Protocol[]): number {
  return protocols.reduce((bits, protocol) => bits | (1 << l7Protocol[protocol]), 0) >>> 0;
}

/** Puts the programs of parsers into their slots. They leave the slots when their object is closed. */
function plug(base: BpfObject, object: BpfObject, parsers: L7Parsers): void {
  for (const [protocol, programs] of Object.entries(parsers) as [L7Protocol, L7Parser][]) {
    for (const [part, program] of Object.entries(programs) as [keyof L7Parser, string][]) {
      object.plug(program, base.map(SLOTS_OF[part]), l7Protocol[protocol]);
    }
  }
}
