/** Numbers that determine the rank of an edge: either totals, or increases over the same period. */
export interface EdgeNumbers {
  readonly failures: number;
  readonly sentSegments: number;
  readonly retransmittedSegments: number;
  /** Bytes in both directions. */
  readonly bytes: number;
}

/** Returns the fraction of sent segments that were retransmitted; 0 if no segments were sent. */
export function retransmittedShare({ sentSegments, retransmittedSegments }: EdgeNumbers): number {
  return sentSegments > 0 ? retransmittedSegments / sentSegments : 0;
}

/**
 * Compares two edges to sort the worst ones first: by failed connections, then by the fraction of retransmitted
 * segments, then by bytes.
 */
export function worstFirst(a: EdgeNumbers, b: EdgeNumbers): number {
  return b.failures - a.failures || retransmittedShare(b) - retransmittedShare(a) || b.bytes - a.bytes;
}
