import type { Btf } from '../sources/bpf/btf.ts';
import { KIND } from '../sources/bpf/btf.ts';

const PREFIX = /^SKB_(DROP_REASON_)?/;
const SUBSYSTEM_PREFIX = 'SKB_DROP_REASON_SUBSYS_';
/** Subsystems number their own reasons, with the subsystem in the high half (kernel: include/net/dropreason.h). */
const SUBSYSTEM_SHIFT = 16;
const LOW_HALF = 0xffff;

export const UNKNOWN_REASON = 'UNKNOWN';

/** Names of the reasons that the running kernel gives for a dropped packet. */
export class DropReasons {
  readonly #names = new Map<number, string>();
  readonly #subsystems = new Map<number, string>();

  /** @param btf the running kernel's: the numbers differ from kernel to kernel */
  constructor(btf: Btf) {
    const core = btf.find(KIND.enum, 'skb_drop_reason');
    for (const [name, value] of core === undefined ? [] : btf.enumValues(core)) {
      if (!name.startsWith(SUBSYSTEM_PREFIX) && !name.endsWith('_MAX'))
        this.#names.set(value, name.replace(PREFIX, ''));
    }
    const subsystems = btf.find(KIND.enum, 'skb_drop_reason_subsys');
    for (const [name, value] of subsystems === undefined ? [] : btf.enumValues(subsystems)) {
      this.#subsystems.set(value, name.slice(SUBSYSTEM_PREFIX.length));
    }
  }

  /** Whether this kernel tells reasons at all (since 5.17). */
  get known(): boolean {
    return this.#names.size > 0;
  }

  /** `NETFILTER_DROP`; of a subsystem's reason `OPENVSWITCH_3`. */
  name(reason: number): string {
    const subsystem = reason >>> SUBSYSTEM_SHIFT;
    if (subsystem === 0) return this.#names.get(reason) ?? `${UNKNOWN_REASON}_${reason}`;
    return `${this.#subsystems.get(subsystem) ?? `SUBSYSTEM_${subsystem}`}_${reason & LOW_HALF}`;
  }

  /** Undefined where this kernel has no such reason. */
  number(name: string): number | undefined {
    for (const [value, known] of this.#names) if (known === name) return value;
    return undefined;
  }
}
