import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CGROUP_V1, CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { TestNetns } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually, readBoth } from '../support/oracle.ts';
import { type Worker, Workers } from '../support/workers.ts';

/** Enables only this probe so that scrapes are fast. */
const ON = only({ io: { enabled: true, detail: 'full' } });
const MIB = 1024 * 1024;
/** Tolerance in bytes for metadata that the file system also writes. */
const SLACK = MIB / 4;

const FIELDS = {
  syscr: 'netsonde_io_read_syscalls_total',
  syscw: 'netsonde_io_write_syscalls_total',
  read_bytes: 'netsonde_io_read_bytes_total',
  write_bytes: 'netsonde_io_written_bytes_total',
} as const;

const directory = mkdtempSync(join(tmpdir(), 'io-'));
const FILE = join(directory, 'file');

let agent: TestKernel;

beforeAll(async () => {
  agent = await TestKernel.open(ON);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

function countersOf(page: Exposition, pod: string): Record<string, number | undefined> {
  return Object.fromEntries(Object.entries(FIELDS).map(([field, name]) => [field, sampleValue(page, name, { pod })]));
}

/** Sums up /proc/<pid>/io over the given processes. */
function summed(processes: readonly Worker[]): Record<string, number> {
  const texts = processes.map(({ pid }) => readFileSync(`/proc/${pid}/io`, 'utf8'));
  const of = (field: string) =>
    texts.reduce((sum, text) => sum + Number(new RegExp(`^${field}: (\\d+)$`, 'm').exec(text)?.[1]), 0);
  return Object.fromEntries(Object.keys(FIELDS).map((field) => [field, of(field)]));
}

async function written(pod: string): Promise<number> {
  const value = countersOf(await agent.page(), pod)['write_bytes'];
  if (value === undefined) throw new Error(`${pod} is not shown`);
  return value;
}

async function startIn(
  workers: Workers,
  netns: TestNetns,
  pod: TestPod,
  wrapper: readonly string[] = [],
): Promise<Worker> {
  const worker = await workers.start(netns, wrapper);
  pod.add(worker.pid);
  return worker;
}

function expectNear(value: number, expected: number): void {
  expect(value).toBeGreaterThanOrEqual(expected);
  expect(value).toBeLessThan(expected + SLACK);
}

describe.each([
  ['cgroup v1', CGROUP_V1],
  ['cgroup v2', CGROUP_V2],
])('I/O by %s', (_, hierarchy) => {
  it('is that of processes, never of threads, and each Pod has its own', async () => {
    await using podA = new TestPod(hierarchy);
    await using podB = new TestPod(hierarchy);
    using netnsA = new TestNetns();
    using netnsB = new TestNetns();
    await using workers = await Workers.create();
    const ofA: Worker[] = [];
    for (const size of [1, 2, 3]) {
      const worker = await startIn(workers, netnsA, podA);
      await worker.threads(8);
      await worker.write(FILE, size * MIB);
      await worker.calls(100);
      ofA.push(worker);
    }
    const ofB = await startIn(workers, netnsB, podB);
    await ofB.threads(8);
    await ofB.read(FILE, 2 * MIB);
    await eventually(async () => {
      expectNear(await written(podA.uid), 6 * MIB);
      expectNear(await written(podB.uid), 0);
    });
    for (const [pod, processes] of [
      [podA, ofA],
      [podB, [ofB]],
    ] as const) {
      const { oracle, ours } = await readBoth(
        () => summed(processes),
        async () => countersOf(await agent.page(), pod.uid),
      );
      expect(ours).toEqual(oracle);
    }
    const before = countersOf(await agent.page(), podA.uid);
    await ofA[0]?.calls(1_000);
    await ofA[1]?.write(FILE, 4 * MIB);
    await ofA[2]?.read(FILE, MIB);
    const after = countersOf(await agent.page(), podA.uid);
    const grown = (field: string) => (after[field] ?? 0) - (before[field] ?? 0);
    expectNear(grown('write_bytes'), 4 * MIB);
    expectNear(grown('read_bytes'), MIB);
    for (const field of ['syscr', 'syscw']) {
      expect(grown(field)).toBeGreaterThanOrEqual(1_001);
      expect(grown(field)).toBeLessThan(1_100);
    }
  });
});

/** Each test starts with a Pod whose only process has written nothing yet. */
describe('I/O when processes end', () => {
  let cleanup: AsyncDisposableStack;
  let workers: Workers;
  let pod: TestPod;
  let netns: TestNetns;
  let first: Worker;
  /** Bytes that the page shows for the Pod at the start of the test. */
  let start: number;

  beforeEach(async () => {
    cleanup = new AsyncDisposableStack();
    pod = cleanup.use(new TestPod(CGROUP_V2));
    netns = cleanup.use(new TestNetns());
    workers = cleanup.use(await Workers.create());
    first = await startIn(workers, netns, pod);
    start = await eventually(() => written(pod.uid));
  });

  afterEach(() => cleanup[Symbol.asyncDispose]());

  /**
   * Checks that this number of bytes was written since the start of the test, and that the page does not show a smaller
   * value later.
   */
  async function expectWritten(bytes: number): Promise<void> {
    expectNear((await written(pod.uid)) - start, bytes);
    // A second scrape without new writes must show the same value.
    expectNear((await written(pod.uid)) - start, bytes);
  }

  it('of a child that was waited for is counted once', async () => {
    const child = await first.fork();
    await child.write(FILE, 2 * MIB);
    await expectWritten(2 * MIB);
    await child.write(FILE, MIB);
    await child.end();
    // The process is a zombie until its parent waits for it.
    await expectWritten(3 * MIB);
    await first.wait(child);
    await expectWritten(3 * MIB);
    await first.write(FILE, MIB);
    await expectWritten(4 * MIB);
  });

  it('of a child that was never seen is counted', async () => {
    const child = await first.fork();
    await child.write(FILE, 2 * MIB);
    await child.end();
    await first.wait(child);
    await expectWritten(2 * MIB);
  });

  it('of a child that no process waits for is kept, and later writes are counted at once', async () => {
    await first.ignoreChildren();
    const child = await first.fork();
    await child.write(FILE, 5 * MIB);
    await expectWritten(5 * MIB);
    await child.end();
    await eventually(() => expect(() => readFileSync(`/proc/${child.pid}/io`)).toThrow());
    await expectWritten(5 * MIB);
    await first.write(FILE, MIB);
    await expectWritten(6 * MIB);
  });

  it('of many generations that no process waits for is complete', async () => {
    await first.ignoreChildren();
    for (let generation = 1; generation <= 5; generation++) {
      const child = await first.fork();
      await child.write(FILE, generation * MIB);
      await expectWritten(((generation * (generation + 1)) / 2) * MIB);
      await child.end();
    }
    await expectWritten(15 * MIB);
  });

  it('of a grandchild that ends with its parent is counted once', async () => {
    const child = await first.fork();
    const grandchild = await child.fork();
    await child.write(FILE, MIB);
    await grandchild.write(FILE, 2 * MIB);
    await expectWritten(3 * MIB);
    await grandchild.end();
    await child.wait(grandchild);
    await child.end();
    await first.wait(child);
    await expectWritten(3 * MIB);
    await first.write(FILE, MIB);
    await expectWritten(4 * MIB);
  });

  it('of orphans is kept when their new parent is outside', async () => {
    const child = await first.fork();
    const grandchild = await child.fork();
    await grandchild.write(FILE, 2 * MIB);
    await child.write(FILE, MIB);
    await expectWritten(3 * MIB);
    await child.end();
    await first.wait(child);
    await expectWritten(3 * MIB);
    await grandchild.write(FILE, MIB);
    await expectWritten(4 * MIB);
    await grandchild.end();
    await eventually(() => expect(() => readFileSync(`/proc/${grandchild.pid}/io`)).toThrow());
    await expectWritten(4 * MIB);
    await first.write(FILE, MIB);
    await expectWritten(5 * MIB);
  });

  it('of an orphan is counted once when the first process of its PID namespace takes it', async () => {
    const init = await startIn(workers, netns, pod, ['unshare', '-p', '-f']);
    // Enters the Pod's PID namespace as `kubectl exec` does.
    const entered = await startIn(workers, netns, pod, ['nsenter', '-t', String(init.pid), '-p']);
    const child = await entered.fork();
    await child.write(FILE, 2 * MIB);
    await entered.write(FILE, MIB);
    await expectWritten(3 * MIB);
    await entered.end();
    await child.end();
    await init.wait(child);
    await expectWritten(3 * MIB);
    await init.write(FILE, MIB);
    await expectWritten(4 * MIB);
  });

  it('of the whole tree is kept when another tree takes its place', async () => {
    const child = await first.fork();
    await first.write(FILE, MIB);
    await child.write(FILE, 2 * MIB);
    await expectWritten(3 * MIB);
    await first.end();
    await child.end();
    const next = await startIn(workers, netns, pod);
    const other = await next.fork();
    await other.write(FILE, MIB);
    // The agent may have forgotten the namespace's owner while the Pod had no process, so the check is retried.
    await eventually(() => expectWritten(4 * MIB));
  });

  it('of a process that has moved to another Pod stays with the Pod where it was done', async () => {
    await using other = new TestPod(CGROUP_V2);
    const child = await first.fork();
    await child.write(FILE, 3 * MIB);
    await expectWritten(3 * MIB);
    other.add(child.pid);
    await child.write(FILE, MIB);
    await expectWritten(3 * MIB);
    await child.end();
    await first.wait(child);
    // The kernel has added the child's I/O to its parent.
    await expectWritten(4 * MIB);
  });

  it('of another Pod in the same cgroup starts at zero', async () => {
    await first.write(FILE, 5 * MIB);
    await expectWritten(5 * MIB);
    await using again = new TestPod(CGROUP_V2);
    using itsNetns = new TestNetns();
    const own = await Workers.create();
    try {
      await startIn(own, itsNetns, again);
      expectNear(await eventually(() => written(again.uid)), 0);
      await expectWritten(5 * MIB);
    } finally {
      await own[Symbol.asyncDispose]();
    }
  });

  it('continues when the probe is switched off and on', async () => {
    await first.ignoreChildren();
    const child = await first.fork();
    await child.write(FILE, 2 * MIB);
    await expectWritten(2 * MIB);
    await agent.kernel.configure(probesOf(only({})));
    await child.end();
    await first.write(FILE, MIB);
    await expect(written(pod.uid)).rejects.toThrow('is not shown');
    await agent.kernel.configure(probesOf(ON));
    await expectWritten(3 * MIB);
  });
});

describe('I/O while processes start and end all the time', () => {
  const SIZE = MIB / 16;
  const SECONDS = 3;

  /** Scrapes until all processes have exited. Returns the increase of each value on the page. */
  async function scrapeDuring(pod: string, start: number, churns: Promise<unknown>): Promise<number> {
    let isOver = false;
    const over = churns.finally(() => {
      isOver = true;
    });
    let last: Record<string, number | undefined> = {};
    while (!isOver) {
      const page = await agent.page();
      const now = countersOf(page, pod);
      // On a busy machine, a collection may exceed its deadline. The page then shows none of its values.
      if (Object.values(now).every((value) => value === undefined)) continue;
      for (const field of Object.keys(FIELDS)) expect(now[field]).toBeGreaterThanOrEqual(last[field] ?? 0);
      last = now;
      for (const path of ['io', 'stat']) {
        expect(sampleValue(page, 'netsonde_source_errors_total', { source: 'procfs', path })).toBeUndefined();
      }
    }
    await over;
    expect(agent.kernel.probes().find(({ name }) => name === 'io')).toMatchObject({ state: 'running', reason: '' });
    return (await written(pod)) - start;
  }

  it('counts each process once if it is waited for', async () => {
    await using pod = new TestPod(CGROUP_V1);
    using netns = new TestNetns();
    await using workers = await Workers.create();
    const all: Worker[] = [];
    for (let count = 0; count < 4; count++) all.push(await startIn(workers, netns, pod));
    const start = await eventually(() => written(pod.uid));
    const churns = Promise.all(all.map((worker, index) => worker.churn(`${FILE}.${index}`, SIZE, SECONDS)));
    const total = await scrapeDuring(pod.uid, start, churns);
    expectNear(total, (await churns).reduce((sum, count) => sum + count, 0) * SIZE);
  });

  it('counts no process twice if no process waits for it', async () => {
    await using pod = new TestPod(CGROUP_V1);
    using netns = new TestNetns();
    await using workers = await Workers.create();
    const ignoring = await startIn(workers, netns, pod);
    const orphaning = await startIn(workers, netns, pod);
    await ignoring.ignoreChildren();
    const start = await eventually(() => written(pod.uid));
    const churns = Promise.all([
      ignoring.churn(`${FILE}.ignoring`, SIZE, SECONDS),
      orphaning.churn(`${FILE}.orphaning`, SIZE, SECONDS, true),
    ]);
    const total = await scrapeDuring(pod.uid, start, churns);
    const most = (await churns).reduce((sum, count) => sum + count, 0) * SIZE;
    expect(total).toBeLessThan(most + SLACK);
    // The machine's load determines how many bytes are written before a scrape, so this is only a lower limit.
    expect(total).toBeGreaterThan(SIZE);
  });
});
