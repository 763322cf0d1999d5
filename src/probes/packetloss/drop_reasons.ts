import { type Btf, KIND } from '#sources/bpf/btf.ts';
import type { BpfSource } from '#sources/bpf/source.ts';

const PREFIX = /^SKB_(DROP_REASON_)?/;
/** Members of enum skb_drop_reason that do not stand for a reason. */
const NO_REASON = /^SKB_DROP_REASON_(SUBSYS_|MAX$)/;
const SUBSYSTEM_PREFIX = 'SKB_DROP_REASON_SUBSYS_';
/**
 * Each subsystem numbers its reasons separately. The upper half of the number identifies the subsystem (kernel:
 * include/net/dropreason.h).
 */
const SUBSYSTEM_SHIFT = 16;
const LOW_HALF = 0xffff;

/** Enums that contain the reasons of subsystems, with the kernel module in which each may be defined. */
const SUBSYSTEM_ENUMS = [
  { name: '___mac80211_drop_reason', module: 'mac80211' },
  { name: 'ovs_drop_reason', module: 'openvswitch' },
] as const;

/** Reason for all drops on kernels that do not report reasons (before 5.17). */
const NONE = 'unknown';

/** Names of the drop reasons of the running kernel. */
export class DropReasons {
  readonly #bpf: BpfSource;
  readonly #names = new Map<number, string>();
  readonly #subsystems = new Map<number, string>();
  readonly #tells: boolean;

  /** @param bpf provides the kernel's BTF; the numbers of the reasons differ between kernels */
  constructor(bpf: BpfSource) {
    this.#bpf = bpf;
    const btf = bpf.btf();
    for (const [name, value] of enumMembers(btf, 'skb_drop_reason')) {
      if (!NO_REASON.test(name)) this.#names.set(value, name.replace(PREFIX, ''));
    }
    for (const [name, value] of enumMembers(btf, 'skb_drop_reason_subsys')) {
      this.#subsystems.set(value, name.slice(SUBSYSTEM_PREFIX.length));
    }
    this.#tells = this.#names.size > 0;
    this.#readSubsystems();
  }

  /** Adds the reasons of subsystems, with the names that the kernel prints, such as `OVS_DROP_METER`. */
  #readSubsystems(): void {
    for (const { name, module } of SUBSYSTEM_ENUMS) {
      const members = [...enumMembers(this.#bpf.btf(), name), ...enumMembers(this.#bpf.moduleBtf(module), name)];
      for (const [member, value] of members) {
        if (value >>> SUBSYSTEM_SHIFT !== 0) this.#names.set(value, member.replace(/^_+/, ''));
      }
    }
  }

  /**
   * Returns the name of a reason, such as `NETFILTER_DROP`. If a subsystem's reason is not in any enum, its name is
   * derived from its number, as in `OPENVSWITCH_3`.
   */
  name(reason: number): string {
    const known = this.#names.get(reason);
    if (known !== undefined) return known;
    // The subsystem's module may have been loaded in the meantime. The result is stored, so each number is looked up
    // only once.
    const subsystem = reason >>> SUBSYSTEM_SHIFT;
    if (subsystem !== 0) this.#readSubsystems();
    const name = this.#names.get(reason) ?? this.#number(reason, subsystem);
    this.#names.set(reason, name);
    return name;
  }

  #number(reason: number, subsystem: number): string {
    if (!this.#tells) return NONE;
    if (subsystem === 0) return `UNKNOWN_${reason}`;
    return `${this.#subsystems.get(subsystem) ?? `SUBSYSTEM_${subsystem}`}_${reason & LOW_HALF}`;
  }

  /** Names of all reasons that are known so far. */
  get all(): readonly string[] {
    return [...this.#names.values()];
  }

  /** Returns the number of a reason; undefined if this kernel does not have it. */
  number(name: string): number | undefined {
    for (const [value, known] of this.#names) if (known === name) return value;
    return undefined;
  }

  /** Returns the number of a subsystem, such as `OPENVSWITCH`; undefined if this kernel does not have it. */
  subsystem(name: string): number | undefined {
    for (const [value, known] of this.#subsystems) if (known === name) return value;
    return undefined;
  }
}

function enumMembers(btf: Btf | undefined, name: string): ReadonlyMap<string, number> {
  const type = btf?.find(KIND.enum, name) ?? btf?.find(KIND.enum64, name);
  return btf === undefined || type === undefined ? new Map() : btf.enumValues(type);
}
