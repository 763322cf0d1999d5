import { netdevKind, netdevKindName, netdevRecipe } from '#bpf/generated/netdev.ts';
import { type Btf, type BtfType, KIND } from '../bpf/btf.ts';
import type { BpfSource } from '../bpf/source.ts';

/** Fields of a struct netdev_kind. Missing fields are 0. */
type Kind = Partial<Record<keyof typeof netdevKind.offsets, number>>;

/** Offsets of members in the structs of the kernel and of one module. */
class Types {
  readonly #all: readonly Btf[];

  constructor(kernel: Btf, module?: Btf) {
    // Search the module's types first: there are few of them, and every search starts from the beginning.
    this.#all = module === undefined ? [kernel] : [module, kernel];
  }

  /** Returns the byte offset of a member in a struct. @throws if this kernel has no such member */
  at(struct: string, member: string): number {
    const at = this.#place(struct, member);
    if (at === undefined) throw new Error(`this kernel's struct ${struct} has no member ${member}`);
    return at;
  }

  has(struct: string, member: string): boolean {
    return this.#place(struct, member) !== undefined;
  }

  bytes(struct: string): number {
    return this.#find(struct).type.sizeOrType;
  }

  /**
   * Checks the layout of a struct.
   * @throws if a member is not at the offset that the program expects
   */
  expect(struct: string, places: Readonly<Record<string, number>>): void {
    for (const [member, expected] of Object.entries(places)) {
      const at = this.at(struct, member);
      if (at !== expected)
        throw new Error(`this kernel's struct ${struct} has ${member} at byte ${at}, not ${expected}`);
    }
  }

  #place(struct: string, member: string): number | undefined {
    const { btf, type } = this.#find(struct);
    const bits = btf.memberBits(type, member);
    return bits === undefined ? undefined : bits / 8;
  }

  #find(struct: string): { readonly btf: Btf; readonly type: BtfType } {
    for (const btf of this.#all) {
      const type = btf.find(KIND.struct, struct);
      if (type !== undefined) return { btf, type };
    }
    throw new Error(`the kernel shows no struct ${struct}`);
  }
}

/** Returns the offsets of consecutive 64-bit members at the start of a struct. */
function words(...members: readonly string[]): Record<string, number> {
  return Object.fromEntries(members.map((member, index) => [member, index * 8]));
}

/** Members of struct rtnl_link_stats64 (UAPI) in order. */
const STATS = words(
  'rx_packets',
  'tx_packets',
  'rx_bytes',
  'tx_bytes',
  'rx_errors',
  'tx_errors',
  'rx_dropped',
  'tx_dropped',
  'multicast',
  'collisions',
  'rx_length_errors',
  'rx_over_errors',
  'rx_crc_errors',
  'rx_frame_errors',
  'rx_fifo_errors',
  'rx_missed_errors',
  'tx_aborted_errors',
  'tx_carrier_errors',
  'tx_fifo_errors',
  'tx_heartbeat_errors',
  'tx_window_errors',
  'rx_compressed',
  'tx_compressed',
);

const DSTATS = ['rx_packets', 'rx_bytes', 'tx_packets', 'tx_bytes', 'rx_drops', 'tx_drops'];

/**
 * Returns constants that describe the layout of struct pcpu_dstats to the program.
 * @throws if another struct with counters does not have the layout that the program expects
 */
export function coreConstants(btf: Btf): { has_dstats: boolean; dstats_words: Uint8Array } {
  const types = new Types(btf);
  types.expect('net_device_stats', STATS);
  types.expect('pcpu_lstats', words('packets', 'bytes'));
  types.expect('pcpu_sw_netstats', words('rx_packets', 'rx_bytes', 'tx_packets', 'tx_bytes'));
  types.expect('net_device_core_stats', words('rx_dropped', 'tx_dropped'));
  // Before 6.7, the struct existed only in the vrf driver.
  const hasDstats = btf.find(KIND.struct, 'pcpu_dstats') !== undefined;
  const places = hasDstats ? DSTATS.map((member) => types.at('pcpu_dstats', member) / 8) : DSTATS.map(() => 0);
  return { has_dstats: hasDstats, dstats_words: Uint8Array.from(places) };
}

interface KnownKind {
  /** Module of the driver; undefined if the driver is always built in. */
  readonly module?: string;
  /**
   * Determines the layout of the driver's data.
   * @param own offset of the driver's private data from the start of struct net_device
   */
  readonly layOut: (types: Types, own: number) => Kind;
}

const AS_CORE: KnownKind = { layOut: () => ({ recipe: netdevRecipe.core }) };

const VLAN_STATS = {
  ...words('rx_packets', 'rx_bytes', 'rx_multicast', 'tx_packets', 'tx_bytes', 'rx_errors'),
  tx_dropped: 44,
};

const MACVLAN: KnownKind = {
  module: 'macvlan',
  layOut: (types, own) => {
    types.expect('vlan_pcpu_stats', VLAN_STATS);
    return { recipe: netdevRecipe.vlan, shares: own + types.at('macvlan_dev', 'pcpu_stats'), areErrorsDrops: 1 };
  },
};

const IPVLAN: KnownKind = {
  module: 'ipvlan',
  layOut: (types, own) => {
    types.expect('ipvl_pcpu_stats', {
      ...words('rx_pkts', 'rx_bytes', 'rx_mcast', 'tx_pkts', 'tx_bytes', 'rx_errs'),
      tx_drps: 44,
    });
    return { recipe: netdevRecipe.vlan, shares: own + types.at('ipvl_dev', 'pcpu_stats'), areErrorsDrops: 1 };
  },
};

/** Supported kinds, by the name of the driver in rtnetlink (kernel: struct rtnl_link_ops). */
const KINDS: Readonly<Record<string, KnownKind>> = {
  bridge: AS_CORE,
  vxlan: AS_CORE,
  geneve: AS_CORE,
  wireguard: AS_CORE,
  ipip: AS_CORE,
  gre: AS_CORE,
  gretap: AS_CORE,
  erspan: AS_CORE,
  sit: AS_CORE,
  vti: AS_CORE,
  vti6: AS_CORE,
  ip6tnl: AS_CORE,
  ip6gre: AS_CORE,
  ip6gretap: AS_CORE,
  ip6erspan: AS_CORE,
  xfrm: AS_CORE,
  tun: {
    module: 'tun',
    layOut: (types, own) => ({
      recipe: netdevRecipe.tun,
      frameErrors: own + types.at('tun_struct', 'rx_frame_errors'),
    }),
  },
  dummy: { layOut: () => ({ recipe: netdevRecipe.dummy }) },
  veth: {
    module: 'veth',
    layOut: (types, own) => {
      types.expect('veth_stats', {
        ...words('rx_drops', 'xdp_packets', 'xdp_bytes'),
        xdp_tx_err: 48,
        peer_tq_xdp_xmit_err: 64,
      });
      return {
        recipe: netdevRecipe.veth,
        peer: own + types.at('veth_priv', 'peer'),
        dropped: own + types.at('veth_priv', 'dropped'),
        queues: own + types.at('veth_priv', 'rq'),
        queueBytes: types.bytes('veth_rq'),
        queueRx: types.at('veth_rq', 'stats') + types.at('veth_rq_stats', 'vs'),
      };
    },
  },
  netkit: {
    layOut: (types, own) => ({ recipe: netdevRecipe.netkit, peer: own + types.at('netkit', 'peer') }),
  },
  vlan: {
    module: '8021q',
    layOut: (types, own) => {
      types.expect('vlan_pcpu_stats', VLAN_STATS);
      return { recipe: netdevRecipe.vlan, shares: own + types.at('vlan_dev_priv', 'vlan_pcpu_stats') };
    },
  },
  macvlan: MACVLAN,
  macvtap: MACVLAN,
  ipvlan: IPVLAN,
  ipvtap: IPVLAN,
  ifb: {
    module: 'ifb',
    layOut: (types, own) => {
      types.expect('ifb_q_stats', words('packets', 'bytes'));
      return {
        recipe: netdevRecipe.ifb,
        queues: own + types.at('ifb_dev_private', 'tx_private'),
        queueBytes: types.bytes('ifb_q_private'),
        queueRx: types.at('ifb_q_private', 'rx_stats'),
        queueTx: types.at('ifb_q_private', 'tx_stats'),
      };
    },
  },
};

/**
 * Returns the offset of a driver's private data from the start of struct net_device (kernel:
 * include/linux/netdevice.h, netdev_priv()).
 */
function ownPartAt(types: Types): number {
  if (types.has('net_device', 'priv')) return types.at('net_device', 'priv');
  return Math.ceil(types.bytes('net_device') / 32) * 32;
}

/** An entry of the map netdev_kinds, encoded. */
export interface KindEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Derives the layout of device kinds from the BTF of the kernel and of drivers that are modules. */
export class KindLayouts {
  readonly #bpf: Pick<BpfSource, 'btf' | 'moduleBtf'>;
  #own: number | undefined;

  constructor(bpf: Pick<BpfSource, 'btf' | 'moduleBtf'>) {
    this.#bpf = bpf;
  }

  /** Returns the kinds with a known layout, by name. The BTF of a module exists only while the module is loaded. */
  known(): Map<string, KindEntry> {
    const found = new Map<string, KindEntry>();
    for (const kind of Object.keys(KINDS)) {
      try {
        const entry = this.layOut(kind);
        if (entry !== undefined) found.set(kind, entry);
      } catch {
        // Not reported until a device of this kind is found.
      }
    }
    return found;
  }

  /**
   * Derives the layout of a kind after a device of this kind was found, at which point its driver is loaded. Returns
   * undefined if the walk does not support the kind.
   * @throws if there is no BTF for the kind, or its layout differs from the expected one
   */
  layOut(kind: string): KindEntry | undefined {
    if (!Object.hasOwn(KINDS, kind)) return undefined;
    const { module, layOut } = KINDS[kind] as KnownKind;
    const kernel = this.#bpf.btf();
    this.#own ??= ownPartAt(new Types(kernel));
    const types = new Types(kernel, module === undefined ? undefined : this.#bpf.moduleBtf(module));
    const key = new Uint8Array(netdevKindName.SIZE);
    key.set(Buffer.from(kind, 'latin1'));
    const value = new DataView(new ArrayBuffer(netdevKind.SIZE));
    for (const [field, number] of Object.entries(layOut(types, this.#own))) {
      value.setUint32(netdevKind.offsets[field as keyof typeof netdevKind.offsets], number, true);
    }
    return { key, value: new Uint8Array(value.buffer) };
  }
}
