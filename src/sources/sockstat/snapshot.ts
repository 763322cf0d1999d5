import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/** Socket counts of one IP version in one namespace; undefined if the kernel does not provide them. */
export interface FamilyCounts {
  readonly tcp: Counter | undefined;
  readonly udp: Counter | undefined;
  readonly raw: Counter | undefined;
  /** Number of packets that are being reassembled, and the memory in bytes that their fragments use. */
  readonly fragmentQueues: Counter | undefined;
  readonly fragmentBytes: Counter | undefined;
}

/** Socket counts of one namespace, with the same meaning as in net/sockstat and net/sockstat6. */
export interface SockstatRow {
  readonly id: NetnsId;
  /** Number of sockets of all protocols. */
  readonly used: Counter | undefined;
  readonly timeWait: Counter | undefined;
  readonly ipv4: FamilyCounts;
  readonly ipv6: FamilyCounts;
}
