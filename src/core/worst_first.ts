/** Numbers by which edges of the same node are compared: totals, or their growth in the same time. */
export interface EdgeNumbers {
  readonly failures: number;
  readonly sentSegments: number;
  readonly retransmittedSegments: number;
  /** Bytes in both directions. */
  readonly bytes: number;
}

/** Returns the share of segments that were retransmitted; 0 where none was sent. */
export function retransmittedShare({ sentSegments, retransmittedSegments }: EdgeNumbers): number {
  return sentSegments > 0 ? retransmittedSegments / sentSegments : 0;
}

/** Orders edges with trouble first: by failed connections, then by the share of retransmitted segments, then by bytes. */
export function worstFirst(a: EdgeNumbers, b: EdgeNumbers): number {
  return b.failures - a.failures || retransmittedShare(b) - retransmittedShare(a) || b.bytes - a.bytes;
}
