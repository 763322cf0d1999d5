import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { SteppedClock } from '../../test/support/stepped_clock.ts';
import type { ApiRequest, ApiResponse, ApiSession } from './api.ts';
import { ownNode, podsOf } from './objects.ts';
import { Reflector } from './reflector.ts';

/** The agents are independent of each other, so a thousand agents would send ten times as many requests. */
const AGENTS = 100;
const ANSWER = { list: '{"metadata":{"resourceVersion":"7"},"items":[]}', refusal: '{"message":"forbidden"}' };

/** Many agents with a simulated API server, and a clock that advances when no work is left. */
class Fleet implements AsyncDisposable {
  readonly clock = new SteppedClock(20);
  mood: 'well' | 'away' | 'refuses' = 'well';
  /** Time of each request. */
  readonly sentMs: number[] = [];
  readonly #streams = new Set<Readable>();
  readonly reflectors: readonly Reflector<unknown>[];

  constructor() {
    const session: ApiSession = {
      server: 'api',
      request: (request) => this.#answer(request),
      renew: () => undefined,
      [Symbol.dispose]: () => undefined,
    };
    const follower = { set: () => undefined, delete: () => undefined };
    this.reflectors = Array.from({ length: AGENTS }, (_, index) => `node-${index}`).flatMap((node) =>
      [podsOf(node), ownNode(node)].map(
        (resource) => new Reflector<unknown>(session, resource, follower, () => undefined, {}, this.clock),
      ),
    );
  }

  get isWhole(): boolean {
    return this.reflectors.every(({ tally }) => tally.isConnected);
  }

  end(): void {
    this.mood = 'away';
    for (const stream of this.#streams) stream.destroy(new Error('reset'));
    this.#streams.clear();
  }

  /** Returns the maximum number of requests in any second after `sinceMs`. */
  busiestSecond(sinceMs: number): number {
    const counts = new Map<number, number>();
    for (const atMs of this.sentMs) {
      const second = Math.floor(atMs / 1000);
      if (atMs >= sinceMs) counts.set(second, (counts.get(second) ?? 0) + 1);
    }
    return Math.max(...counts.values());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = Promise.all(this.reflectors.map((reflector) => reflector[Symbol.asyncDispose]()));
    this.clock.release();
    await closed;
  }

  async #answer({ path, signal }: ApiRequest): Promise<ApiResponse> {
    this.sentMs.push(this.clock.now());
    if (this.mood === 'away') throw new Error('connect ECONNREFUSED');
    if (this.mood === 'refuses') return { status: 403, retryAfter: undefined, body: Readable.from([ANSWER.refusal]) };
    const isWatch = path.includes('watch=');
    const body = isWatch ? new Readable({ read: () => undefined }) : Readable.from([Buffer.from(ANSWER.list)]);
    if (isWatch) this.#streams.add(body);
    signal.addEventListener('abort', () => body.destroy(new Error('aborted')), { once: true });
    return { status: 200, retryAfter: undefined, body };
  }
}

it('agents recover within ten seconds of an API server that was away and then refused them, and do not send requests in step', async () => {
  await using fleet = new Fleet();
  const { clock } = fleet;
  await clock.advance(30_000);
  expect(fleet.isWhole).toBe(true);
  fleet.end();
  const awayMs = clock.now();
  await clock.advance(30_000);
  fleet.mood = 'refuses';
  await clock.advance(30_000);
  fleet.mood = 'well';
  const backMs = clock.now();
  await clock.advance(10_000);
  expect(fleet.isWhole).toBe(true);
  // Each agent follows two resources. The reconnects are spread over one second, and the retries after the first
  // failure are spread over two more seconds. Each later retry waits for 4 to 8 s.
  const { length: followed } = fleet.reflectors;
  expect(fleet.busiestSecond(awayMs)).toBeLessThanOrEqual(1.2 * followed);
  expect(fleet.busiestSecond(awayMs + 10_000)).toBeLessThanOrEqual(0.5 * followed);
  // Each agent needs a list request and a watch request for each resource.
  expect(fleet.sentMs.filter((atMs) => atMs > backMs)).toHaveLength(2 * followed);
  expect(fleet.sentMs.filter((atMs) => atMs >= awayMs).length).toBeLessThanOrEqual(16 * followed);
});
