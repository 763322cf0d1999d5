import type { TestNetns } from './hosts.ts';

/** Drops packets of a namespace's connections at random, until disposed. */
export function losePackets(netns: TestNetns, percent: number): Disposable {
  netns.exec(`nft add table inet lost`);
  netns.exec(`nft add chain inet lost packets { type filter hook prerouting priority -300 ; }`);
  netns.exec(`nft add rule inet lost packets meta l4proto tcp numgen random mod 100 < ${percent} drop`);
  return { [Symbol.dispose]: () => void netns.exec('nft delete table inet lost') };
}

/** First four bytes of a segment that {@link loseHoles} drops. */
export const HOLE = Buffer.from('HOLE');

export interface Holes extends Disposable {
  /** Returns the number of segments that were dropped. */
  dropped(): number;
}

/** Drops TCP segments to a namespace whose data begins with {@link HOLE}, also when they are sent again. */
export function loseHoles(netns: TestNetns): Holes {
  netns.exec('nft add table inet holes');
  netns.exec('nft add chain inet holes packets { type filter hook prerouting priority -300 ; }');
  // The header has 32 bytes, because it contains timestamps.
  netns.exec(`nft add rule inet holes packets meta l4proto tcp @th,256,32 0x${HOLE.toString('hex')} counter drop`);
  return {
    dropped: () => Number(/packets (\d+)/.exec(netns.exec('nft list table inet holes'))?.[1]),
    [Symbol.dispose]: () => void netns.exec('nft delete table inet holes'),
  };
}
