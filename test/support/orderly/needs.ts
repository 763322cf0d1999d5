import { DEFAULT_PATHS } from '#core/paths.ts';
import { DropReasons } from '#probes/packetloss/drop_reasons.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { TestNetns } from '../hosts.ts';
import { OBJECTS } from '../kernel.ts';
import type { Needs, Pattern } from './catalogue.ts';
import type { Played } from './theatre.ts';

const TRIES: Readonly<Record<Needs, (netns: TestNetns) => string>> = {
  esp: (netns) =>
    netns.ip(
      `xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 1 mode transport enc cbc(aes) 0x${'00'.repeat(16)} auth hmac(sha256) 0x${'00'.repeat(32)}`,
    ),
  geneve: (netns) => netns.ip('link add g type geneve id 1 remote 10.0.0.2'),
  gre: (netns) => netns.ip('link add g type gre local 10.0.0.1 remote 10.0.0.2'),
  ipip: (netns) => netns.ip('link add i type ipip local 10.0.0.1 remote 10.0.0.2'),
  mptcp: (netns) => netns.exec('sysctl -n net.mptcp.enabled'),
  sit: (netns) => netns.ip('link add s type sit local 10.0.0.1 remote 10.0.0.2'),
  // The loopback device of 5.10 cannot have VLANs.
  vlan: (netns) => {
    netns.ip('link add one type veth peer name two');
    return netns.ip('link add v link one type vlan id 1');
  },
};

/** Determines which patterns of the catalogue this kernel supports. */
export class Kernel {
  readonly #known = new Map<Needs, boolean>();
  readonly #reasons = new DropReasons(new BpfSource(OBJECTS, DEFAULT_PATHS.sys));

  /**
   * Returns the number of drops that the agent counts in the twin. It is 0 if the agent cannot distinguish the twin
   * from the pattern.
   * @param played the played twin
   */
  dropsOf({ twin: { reason, isNewer } }: Pattern, { frees, strayFrees }: Played): 0 | 1 {
    if (reason === undefined) return 1;
    if (isNewer) return [...frees, ...strayFrees].some((freed) => freed.reason === reason) ? 1 : 0;
    return this.#reasons.number(reason) === undefined ? 0 : 1;
  }

  /** Tries to use what the pattern needs, such as a device, and returns whether the kernel supports it. */
  plays({ needs }: Pattern): boolean {
    if (needs === undefined) return true;
    const has = this.#known.get(needs) ?? this.#has(needs);
    this.#known.set(needs, has);
    return has;
  }

  #has(needs: Needs): boolean {
    using netns = new TestNetns();
    try {
      TRIES[needs](netns);
      return true;
    } catch {
      return false;
    }
  }
}
