import type { ServerResponse } from 'node:http';
import { ownerOf } from './peer.ts';
import type { Refusals } from './refusals.ts';

/** Maximum number of open event streams. */
export const FOLLOWERS_MAX = 16;

interface Follower {
  readonly owner: string;
  readonly response: ServerResponse;
}

/**
 * Tracks the clients that follow events. A new stream is always accepted. When there are too many streams, the owner
 * with the most streams loses one: the stream with the most unread bytes, or the oldest among equals. The client can
 * resume with `Last-Event-ID`.
 */
export class Followers {
  readonly #refusals: Refusals;
  readonly #max: number;
  /** Open streams, oldest first. */
  readonly #open = new Set<Follower>();

  constructor(refusals: Refusals, max = FOLLOWERS_MAX) {
    this.#refusals = refusals;
    this.#max = max;
  }

  /** Tracks a stream until its response closes. */
  add(response: ServerResponse): void {
    const newest = { owner: ownerOf(response.req.socket), response };
    this.#open.add(newest);
    response.once('close', () => this.#open.delete(newest));
    if (this.#open.size <= this.#max) return;
    const victim = this.#victim(newest);
    if (victim === undefined) return;
    this.#open.delete(victim);
    this.#refusals.count('followers');
    victim.response.destroy();
  }

  #victim(newest: Follower): Follower | undefined {
    const counts = new Map<string, number>();
    for (const { owner } of this.#open) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    const most = Math.max(...counts.values());
    const candidates = [...this.#open].filter((one) => one !== newest && counts.get(one.owner) === most);
    const unread = Math.max(...candidates.map(({ response }) => response.writableLength));
    return candidates.find(({ response }) => response.writableLength === unread);
  }
}
