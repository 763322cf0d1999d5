import type { LaneRecord } from '../record.ts';
import { type Receipt, Unavailable } from '../sink.ts';
import type { Answer } from './http.ts';

/** A server that refuses nearly everything is not asked about each record. */
const REFUSALS_MAX = 100;

/** Not the fault of what was sent: who we are, where we sent it to, or when. */
const NOT_THE_RECORDS = new Set([401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 421, 425, 426, 429]);

/** Of a server that tells how many records of those that it has taken it has refused after all, but not which. */
export interface Outcome extends Answer {
  readonly refused?: { readonly count: number; readonly why: string } | undefined;
}

/**
 * Sends a batch. Where the server refuses it for what is in it, its halves are sent, and so on: what is at fault is
 * dropped, and keeps nothing else from getting there. What is sent again meanwhile the server has had before.
 * @throws {Unavailable}
 */
export async function deliver(
  batch: readonly LaneRecord[],
  receipt: Receipt,
  send: (records: readonly LaneRecord[]) => Promise<Outcome>,
): Promise<void> {
  const parts = [batch];
  for (let refusals = 0; parts.length > 0; ) {
    const part = parts.pop() ?? [];
    const { status, text, retryAfterMs, refused } = await send(part);
    if (status >= 200 && status < 300) {
      settle(part, receipt, refused);
      continue;
    }
    const why = reasonOf(status, text);
    if (status < 400 || status >= 500 || NOT_THE_RECORDS.has(status)) throw new Unavailable(why, retryAfterMs);
    refusals++;
    if (part.length === 1 || refusals > REFUSALS_MAX) {
      receipt.rejected(part, why);
    } else {
      const half = Math.ceil(part.length / 2);
      parts.push(part.slice(half), part.slice(0, half));
    }
  }
}

function settle(part: readonly LaneRecord[], receipt: Receipt, refused: Outcome['refused']): void {
  const taken = Math.max(0, part.length - (refused?.count ?? 0));
  receipt.delivered(part.slice(0, taken));
  if (refused !== undefined) receipt.rejected(part.slice(taken), refused.why);
}

function reasonOf(status: number, text: string): string {
  const line = text.split('\n', 1)[0];
  return `it answers ${status}${line === '' ? '' : `: ${line}`}`;
}
