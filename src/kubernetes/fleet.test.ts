import { Readable } from 'node:stream';
import { expect, it, vi } from 'vitest';
import { SteppedClock } from '../../test/support/stepped_clock.ts';
import type { ApiRequest, ApiResponse, ApiSession } from './api.ts';
import { ownNode, podsOf } from './objects.ts';
import { Reflector } from './reflector.ts';
import { WideBook } from './wide_book.ts';

/**
 * Number of simulated agents. Agents do not influence each other, so a thousand would send ten times as many requests.
 */
const AGENTS = 100;
const ANSWER = { list: '{"metadata":{"resourceVersion":"7"},"items":[]}', refusal: '{"message":"forbidden"}' };

/** Many agents with a simulated API server, and a clock that advances whenever all agents are waiting. */
class Fleet implements AsyncDisposable {
  readonly clock = new SteppedClock(20);
  mood: 'well' | 'away' | 'refuses' = 'well';
  /** Time of each request, in milliseconds. */
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

  /** Returns the largest number of requests within one second after `sinceMs`. */
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
  // For each resource, every agent sends a list request and a watch request.
  expect(fleet.sentMs.filter((atMs) => atMs > backMs)).toHaveLength(2 * followed);
  expect(fleet.sentMs.filter((atMs) => atMs >= awayMs).length).toBeLessThanOrEqual(16 * followed);
});

/** Returns a random number generator that yields the same numbers in each run (Numerical Recipes, section 7.1). */
function sameRandom(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

it('a thousand agents that start at the same time list the cluster with at most 50 requests a second', async () => {
  using random = vi.spyOn(Math, 'random').mockImplementation(sameRandom());
  const agents = 1_000;
  const clock = new SteppedClock(100);
  const sentMs: number[] = [];
  const table = `{"metadata":{"resourceVersion":"7","remainingItemCount":${agents - 1}},"columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["n"]}]}`;
  const session: ApiSession = {
    server: 'api',
    request: async ({ path, accept, signal }) => {
      sentMs.push(clock.now());
      const isTable = accept?.includes('as=Table') === true;
      const body = path.includes('watch=')
        ? new Readable({ read: () => undefined })
        : Readable.from([Buffer.from(isTable ? table : ANSWER.list)]);
      signal.addEventListener('abort', () => body.destroy(new Error('aborted')), { once: true });
      return { status: 200, retryAfter: undefined, body };
    },
    renew: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
  const books = Array.from({ length: agents }, (_, index) => {
    return new WideBook({
      session,
      node: `node-${index}`,
      mode: 'services',
      clock,
      follow: (resource, follower, timing) =>
        new Reflector(session, resource, follower, () => undefined, timing, clock),
      changed: undefined,
      isDualStack: Promise.resolve(false),
      spreadMs: undefined,
    });
  });
  await clock.advance(550_000);
  expect(books.every(({ isWhole }) => isWhole)).toBe(true);
  // Each agent requests the number of nodes, and lists and watches three resources.
  expect(sentMs).toHaveLength(7 * agents);
  const counts = new Map<number, number>();
  for (const atMs of sentMs) counts.set(Math.floor(atMs / 1_000), (counts.get(Math.floor(atMs / 1_000)) ?? 0) + 1);
  expect(Math.max(...counts.values())).toBeLessThanOrEqual(50);
  expect(random).toHaveBeenCalled();
  const closed = Promise.all(books.map((book) => book[Symbol.asyncDispose]()));
  clock.release();
  await closed;
});
