import { EventEmitter } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DesiredKernel } from '#probe/contract.ts';
import { KernelClient, PAGES_MAX, type PageCaller } from './client.ts';
import type { Question, QuestionName } from './messages.ts';

const HANG_MS = 5_000;
const FIRST: DesiredKernel = { probes: {}, bpfStats: false, series: 1_000, privacy: {} };
const SECOND: DesiredKernel = { probes: {}, bpfStats: true, series: 1_000, privacy: {} };

const SCRAPER: PageCaller = { owner: '10.0.0.1', signal: new AbortController().signal };

/** A fake kernel thread that answers requests unless a test makes it fail. */
class FakeWorker extends EventEmitter {
  readonly asked: Question[] = [];
  /** Requests that the thread ignores. */
  silent = new Set<QuestionName>();
  /** Whether the thread cannot be terminated, as if it were in a hanging read. */
  hangs = false;

  postMessage(question: Question): void {
    this.asked.push(question);
    if (this.silent.has(question.name) || this.hangs) return;
    const answer = question.name === 'scrape' ? { content: [], ledger: [] } : null;
    queueMicrotask(() => this.emit('message', { kind: 'answer', id: question.id, answer }));
  }

  terminate(): Promise<number> {
    if (this.hangs) return new Promise(() => undefined);
    queueMicrotask(() => this.emit('exit', 1));
    return Promise.resolve(1);
  }

  names(): QuestionName[] {
    return this.asked.map(({ name }) => name).filter((name) => name !== 'ping');
  }
}

let workers: FakeWorker[];
/** Called with each new worker. The result determines whether the thread becomes ready. */
let prepare: (worker: FakeWorker, number: number) => 'ready' | 'fails' | 'waits';
let logs: string[];
let client: KernelClient;

function worker(): Worker {
  const made = new FakeWorker();
  workers.push(made);
  const what = prepare(made, workers.length);
  queueMicrotask(() => {
    if (what === 'ready') made.emit('message', { kind: 'ready', tid: undefined });
    if (what === 'fails') made.emit('error', new Error('no list of CPUs'));
  });
  return made as unknown as Worker;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
  workers = [];
  logs = [];
  prepare = () => 'ready';
  client = new KernelClient({
    kernel: {
      paths: { proc: '', sys: '', cgroup: '', netns: '' },
      objects: '',
      node: 'n1',
      kubernetes: false,
      toolSocket: '',
    },
    events: () => undefined,
    records: () => undefined,
    pods: () => [{ uid: 'u', namespace: 'shop', pod: 'cart', labels: {} } as never],
    log: (level, message) => logs.push(`${level} ${message}`),
    hangMs: HANG_MS,
    worker,
  });
});

afterEach(async () => {
  const closed = client[Symbol.asyncDispose]();
  await vi.advanceTimersByTimeAsync(HANG_MS + 1_000);
  await closed;
  vi.useRealTimers();
});

const last = () => workers.at(-1) as FakeWorker;

describe('a thread that starts', () => {
  it('receives labels, Pods and the last wish, in this order', async () => {
    await client.start();
    await client.configure(FIRST);
    expect(last().names()).toEqual(['labelPods', 'namePods', 'configure']);
    await client.labelPods({ app: 'app' });
    await client.configure(SECOND);
    workers[0]?.emit('exit', 1);
    await vi.advanceTimersByTimeAsync(100);
    expect(workers).toHaveLength(2);
    expect(last().asked.slice(0, 3)).toMatchObject([
      { name: 'labelPods', ask: { app: 'app' } },
      { name: 'namePods', ask: { whole: true, set: [{ pod: 'cart' }] } },
      { name: 'configure', ask: SECOND },
    ]);
    expect(client.restarts).toBe(1);
    expect(logs).toEqual(['error replacing the kernel thread, which ended', 'info a new kernel thread is running']);
  });

  it('passes its failure to the caller if it is the first', async () => {
    prepare = () => 'fails';
    await expect(client.start()).rejects.toThrow('no list of CPUs');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(workers).toHaveLength(1);
  });

  it('is retried with growing pauses if it fails later', async () => {
    await client.start();
    prepare = (_, number) => (number < 5 ? 'fails' : 'ready');
    workers[0]?.emit('error', new Error('broken'));
    const startedAfter: number[] = [];
    for (let ms = 0; workers.length < 5 && ms < 10_000; ms += 50) {
      const before = workers.length;
      await vi.advanceTimersByTimeAsync(50);
      if (workers.length > before) startedAfter.push(ms + 50);
    }
    expect(startedAfter).toEqual([100, 300, 700, 1_500]);
    expect(client.restarts).toBe(4);
    expect(logs.filter((line) => line.includes('could not be started: no list of CPUs'))).toHaveLength(3);
    expect(logs.at(-1)).toBe('info a new kernel thread is running');
  });

  it('is replaced by one thread, not by two, if it is lost while it receives its wish', async () => {
    await client.start();
    await client.configure(FIRST);
    prepare = (made, number) => {
      if (number === 2) made.silent = new Set(['configure', 'ping']);
      return 'ready';
    };
    workers[0]?.emit('exit', 1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(workers).toHaveLength(3);
    expect(client.restarts).toBe(2);
    expect(last().names()).toEqual(['labelPods', 'namePods', 'configure']);
  });

  it('is terminated if the agent ends meanwhile', async () => {
    await client.start();
    prepare = () => 'waits';
    workers[0]?.emit('exit', 1);
    await vi.advanceTimersByTimeAsync(100);
    expect(workers).toHaveLength(2);
    const ended = vi.spyOn(last(), 'terminate');
    await client[Symbol.asyncDispose]();
    expect(ended).toHaveBeenCalledOnce();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(workers).toHaveLength(2);
    expect(client.stuckThreads).toBe(0);
  });
});

describe('a thread that hangs', () => {
  async function hang(): Promise<FakeWorker> {
    const hung = last();
    hung.hangs = true;
    // The client sends a ping after HANG_MS, gives up after another HANG_MS, and then waits before it starts the next
    // thread.
    await vi.advanceTimersByTimeAsync(2 * HANG_MS + 3_000);
    return hung;
  }

  it('is abandoned: its questions are answered with the reason, and it counts as stuck until it ends', async () => {
    await client.start();
    last().silent.add('probes');
    const question = expect(client.ask('probes', null)).rejects.toThrow(
      /^the kernel thread did not respond for \d+ ms$/,
    );
    const hung = await hang();
    await question;
    expect(logs[0]).toMatch(/^error replacing the kernel thread, which did not respond for \d+ ms$/);
    expect(workers).toHaveLength(2);
    expect(client.stuckThreads).toBe(1);
    expect(await client.ask('ping', null)).toBeNull();
    hung.emit('exit', 1);
    await vi.advanceTimersByTimeAsync(0);
    expect(client.stuckThreads).toBe(0);
  });

  it('leaves the last good page, with its age', async () => {
    await client.start();
    const { page, ageSeconds } = await client.page('text', 1_000, SCRAPER);
    expect(ageSeconds).toBe(0);
    last().hangs = true;
    const late = client.page('text', 1_000, SCRAPER);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await late).toEqual({ page, ageSeconds: 1 });
    // The client sends no more page requests to a thread that has been silent for half of HANG_MS.
    await vi.advanceTimersByTimeAsync(3_500);
    const { length } = last().asked;
    expect(await client.page('text', 1_000, SCRAPER)).toEqual({ page, ageSeconds: 4.5 });
    expect(last().asked).toHaveLength(length);
    await expect(client.page('openmetrics', 1_000, SCRAPER)).rejects.toThrow('the kernel thread does not respond');
  });

  it('is asked for a limited number of pages at a time, and informed of one that is no longer wanted', async () => {
    await client.start();
    last().silent = new Set(['scrape']);
    const gone = new AbortController();
    const asked = () => last().asked.filter(({ name }) => name === 'scrape');
    const pages = [SCRAPER, ...Array.from({ length: PAGES_MAX + 1 }, () => ({ owner: 'flood', signal: gone.signal }))]
      .map((caller) => client.page('text', 14_000, caller))
      .map((page) => page.catch(({ message }: Error) => message));
    await vi.advanceTimersByTimeAsync(0);
    expect(asked()).toHaveLength(PAGES_MAX);
    gone.abort(new Error('the client has gone'));
    await vi.advanceTimersByTimeAsync(0);
    // Until the thread has finished the abandoned pages, they count against the limit, so no further page is requested.
    expect(asked()).toHaveLength(PAGES_MAX);
    const forgotten = last().asked.filter(({ name }) => name === 'forget');
    expect(forgotten.map(({ ask }) => ask)).toEqual(
      asked()
        .slice(1)
        .map(({ id }) => id),
    );
    last().silent = new Set();
    for (const { id } of asked()) last().emit('message', { kind: 'answer', id, answer: { content: [], ledger: [] } });
    await vi.advanceTimersByTimeAsync(0);
    expect(await Promise.all(pages)).toEqual([
      ...Array.from({ length: PAGES_MAX }, () => expect.objectContaining({ ageSeconds: 0 })),
      'the client has gone',
      'the client has gone',
    ]);
    await client.page('text', 1_000, SCRAPER);
    expect(asked()).toHaveLength(PAGES_MAX + 1);
  });

  it('is pinged once in the time of a hang while idle, and within a second while it owes an answer', async () => {
    await client.start();
    await vi.advanceTimersByTimeAsync(4 * HANG_MS);
    expect(last().asked.filter(({ name }) => name === 'ping')).toHaveLength(4);
    last().hangs = true;
    const answer = client.ask('probes', null).catch(({ message }: Error) => message);
    await vi.advanceTimersByTimeAsync(HANG_MS + 2_000);
    expect(await answer).toMatch(/^the kernel thread did not respond/);
    expect(client.stuckThreads).toBe(1);
  });

  it('is not replaced for a time during which this thread did not run either', async () => {
    await client.start();
    last().silent.add('ping');
    await vi.advanceTimersByTimeAsync(HANG_MS);
    const now = performance.now.bind(performance);
    const stopped = vi.spyOn(performance, 'now').mockImplementation(() => now() + 60_000);
    await vi.advanceTimersByTimeAsync(HANG_MS);
    expect(logs).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(logs).toEqual([expect.stringContaining('did not respond'), expect.stringContaining('is running')]);
    stopped.mockRestore();
  });

  it('is not replaced while three threads hang', async () => {
    await client.start();
    const hung = await hang();
    await hang();
    await hang();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(workers).toHaveLength(3);
    expect(client.stuckThreads).toBe(3);
    expect(logs.at(-1)).toBe('error 3 kernel threads hang, so no new one is started until one of them ends');
    await expect(client.ask('probes', null)).rejects.toThrow('the kernel thread is being replaced');
    hung.emit('exit', 1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(workers).toHaveLength(4);
    expect(logs.at(-1)).toBe('info a new kernel thread is running');
  });
});
