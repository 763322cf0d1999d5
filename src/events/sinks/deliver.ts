import type { EventLine } from '../event_line.ts';
import { type Receipt, Unavailable } from '../sink.ts';
import type { Answer } from './http.ts';

/** A server that refuses nearly everything is not asked about each event. */
const REFUSALS_MAX = 100;

/** Not the fault of what was sent: who we are, where we sent it to, or when. */
const NOT_THE_EVENTS = new Set([401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 421, 425, 426, 429]);

/**
 * Sends a batch. Where the server refuses it for what is in it, its halves are sent, and so on: what is at fault is
 * dropped, and keeps nothing else from getting there. What is sent again meanwhile the server has had before.
 * @throws {Unavailable}
 */
export async function deliver(
  batch: readonly EventLine[],
  receipt: Receipt,
  send: (events: readonly EventLine[]) => Promise<Answer>,
): Promise<void> {
  const parts = [batch];
  for (let refusals = 0; parts.length > 0; ) {
    const part = parts.pop() ?? [];
    const { status, text, retryAfterMs } = await send(part);
    if (status >= 200 && status < 300) {
      receipt.delivered(part);
      continue;
    }
    const why = `it answers ${status}${text === '' ? '' : `: ${text}`}`;
    if (status < 400 || status >= 500 || NOT_THE_EVENTS.has(status)) throw new Unavailable(why, retryAfterMs);
    refusals++;
    if (part.length === 1 || refusals > REFUSALS_MAX) {
      receipt.rejected(part, why);
    } else {
      const half = Math.ceil(part.length / 2);
      parts.push(part.slice(half), part.slice(0, half));
    }
  }
}
