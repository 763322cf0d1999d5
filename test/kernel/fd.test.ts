import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { CGROUP_V1, CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { run } from '../support/command.ts';
import { sampleValue } from '../support/exposition.ts';
import { TestNetns } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { listed, startIn, statusOf, type Usage, untilShown, usageOf } from '../support/open_files.ts';
import { eventually, readBoth } from '../support/oracle.ts';
import { type Worker, Workers } from '../support/workers.ts';

const CONFIG = only({ fd: true, sock: true });

/** Maximum number of one-second rounds in which processes start and exit. */
const ROUNDS = 10;

const directory = mkdtempSync(join(tmpdir(), 'fd-'));

let agent: TestKernel;

beforeAll(async () => {
  agent = await TestKernel.open(CONFIG);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

/**
 * Reads the Pod's numbers on the page and the numbers that `ls` reports for the Pod's processes, at the same moment.
 */
function compare(pod: string, processes: readonly Worker[]): Promise<{ oracle: Usage; ours: Usage }> {
  return readBoth(
    () => listed(processes),
    async () => usageOf(await agent.page(), pod),
  );
}

describe.each([
  ['cgroup v1', CGROUP_V1],
  ['cgroup v2', CGROUP_V2],
])('descriptors by %s', (_, hierarchy) => {
  it('are those of processes, never of threads, and of each Pod its own', async () => {
    await using podA = new TestPod(hierarchy);
    await using podB = new TestPod(hierarchy);
    using netnsA = new TestNetns();
    using netnsB = new TestNetns();
    await using workers = await Workers.create();
    const ofA: Worker[] = [];
    for (const count of [10, 20, 30]) ofA.push(await startIn(workers, netnsA, podA, count, count / 10));
    const ofB = [await startIn(workers, netnsB, podB, 1, 40)];
    await ofA[1]?.limit(64);
    await untilShown(agent, podA.uid);
    await untilShown(agent, podB.uid);
    expect(statusOf(agent)).toMatchObject({ state: 'running', reason: '' });

    const a = await compare(podA.uid, ofA);
    expect(a.ours).toEqual(a.oracle);
    // The Pod has 60 files, 6 sockets, and the descriptors with which each process started.
    expect(a.ours.open).toBeGreaterThan(66);
    expect(a.ours.open).toBeLessThan(66 + 3 * 10);
    expect(a.ours.limitUsed).toBeGreaterThan(20 / 64);
    const b = await compare(podB.uid, ofB);
    expect(b.ours).toEqual(b.oracle);
    // The worker also has a listening socket, and its stderr may be a socket.
    expect(b.ours.sockets).toBeGreaterThan(40);
    expect(b.ours.sockets).toBeLessThan(44);
  });

  it('count all containers, cgroups below them, and processes that have left the network namespace', async () => {
    await using pod = new TestPod(hierarchy);
    using netns = new TestNetns();
    await using workers = await Workers.create();
    const first = await startIn(workers, netns, pod, 5, 1);
    await untilShown(agent, pod.uid);
    const second = await workers.start(netns);
    pod.add(second.pid, pod.addContainer());
    const below = await workers.start(netns);
    pod.add(below.pid, pod.inner('worker'));
    const elsewhere = await startIn(workers, netns, pod, 3, 2);
    await elsewhere.newNetns();
    const { ours, oracle } = await compare(pod.uid, [first, second, below, elsewhere]);
    expect(ours).toEqual(oracle);
  });

  it('are found if the first thread has ended', async () => {
    await using pod = new TestPod(hierarchy);
    using netns = new TestNetns();
    await using workers = await Workers.create();
    const other = await startIn(workers, netns, pod, 0, 0);
    const worker = await startIn(workers, netns, pod, 33, 4);
    await untilShown(agent, pod.uid);
    const { ours: before } = await compare(pod.uid, [worker, other]);
    worker.endFirstThread();
    await eventually(() => expect(run('ls', `/proc/${worker.pid}/fd`)).toBe(''));
    expect(usageOf(await agent.page(), pod.uid)).toEqual(before);
  });
});

describe('descriptors of a namespace without a container', () => {
  it('are those of the processes that are in it now, even if they came a moment ago', async () => {
    using netns = new TestNetns();
    await using workers = await Workers.create();
    const first = await workers.start(netns);
    await untilShown(agent, netns.name);
    const child = await first.fork();
    const second = await workers.start(netns);
    await child.sockets(5);
    const { ours, oracle } = await compare(netns.name, [first, child, second]);
    expect(ours).toEqual(oracle);
    await child.end();
    await first.wait(child);
    const later = await compare(netns.name, [first, second]);
    expect(later.ours).toEqual(later.oracle);
  });

  it('are zero if no process is in it', async () => {
    using netns = new TestNetns();
    await untilShown(agent, netns.name);
    expect(usageOf(await agent.page(), netns.name)).toEqual({ open: 0, sockets: 0, limitUsed: undefined });
  });

  it('are not shown for the node', async () => {
    expect(usageOf(await agent.page(), '')).toEqual({ open: undefined, sockets: undefined, limitUsed: undefined });
  });
});

it('processes that end meanwhile cause no error', async () => {
  await using pod = new TestPod(CGROUP_V2);
  using netns = new TestNetns();
  await using workers = await Workers.create();
  const worker = await startIn(workers, netns, pod, 1, 1);
  await untilShown(agent, pod.uid);
  const { ours: alone } = await compare(pod.uid, [worker]);
  let most = 0;
  // On a busy machine, the short-lived processes may exit after they are listed and before they are read, so the test
  // runs several rounds.
  for (let round = 0; round < ROUNDS && most <= (alone.open ?? 0); round++) {
    let isOver = false;
    const churn = worker.churn(join(directory, 'file'), 4096, 1).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const page = await agent.page();
      most = Math.max(most, usageOf(page, pod.uid).open ?? 0);
      expect(sampleValue(page, 'netsonde_source_errors_total', { source: 'procfs', path: 'fd' })).toBeUndefined();
      expect(statusOf(agent)).toMatchObject({ state: 'running', reason: '' });
      await pause(5);
    }
    expect(await churn).toBeGreaterThan(1);
  }
  // At least one page must have included the worker's children.
  expect(most).toBeGreaterThan(alone.open ?? 0);
  expect(usageOf(await agent.page(), pod.uid)).toEqual(alone);
});

describe('without CAP_SYS_PTRACE', () => {
  /**
   * Command prefix that drops all capabilities. An agent without CAP_SYS_PTRACE can read the descriptors of such a
   * process.
   */
  const WITHOUT_CAPABILITIES = ['setpriv', '--bounding-set', '-all', '--inh-caps', '-all'];

  it('leaves out the owner of a process that cannot be read, and reports that', async () => {
    await using open = new TestPod(CGROUP_V2);
    await using closed = new TestPod(CGROUP_V2);
    using netnsOpen = new TestNetns();
    using netnsClosed = new TestNetns();
    await using workers = await Workers.create();
    const readable = await workers.start(netnsOpen, WITHOUT_CAPABILITIES);
    open.add(readable.pid);
    closed.add((await workers.start(netnsClosed, WITHOUT_CAPABILITIES)).pid);
    closed.add((await workers.start(netnsClosed)).pid);
    const config = join(directory, 'config.yaml');
    writeFileSync(config, only({ fd: true, io: true, sock: true }));
    await using process = await AgentProcess.serve(
      ['--config', config],
      ['setpriv', '--bounding-set', '-sys_ptrace', '--inh-caps', '-all'],
    );
    await eventually(async () => expect(usageOf(await process.page(), open.uid).open).toBeDefined());
    const { oracle, ours } = await readBoth(
      () => listed([readable]),
      async () => usageOf(await process.page(), open.uid),
    );
    expect(ours).toEqual(oracle);
    const page = await process.page();
    const names = (pod: string) => page.samples.filter(({ labels }) => labels['pod'] === pod).map(({ name }) => name);
    const ofProcesses = /^netsonde_(open|io|file)_/;
    expect(names(open.uid).filter((name) => ofProcesses.test(name))).toHaveLength(5);
    expect(names(closed.uid)).toContain('netsonde_sockets_used');
    // Since 6.2, the number of descriptors is readable without CAP_SYS_PTRACE. Their types and the I/O counters still
    // require it.
    const needRight = /^netsonde_(open_sockets|io_)/;
    expect(names(closed.uid).filter((name) => needRight.test(name))).toEqual([]);
    const { probes } = await process.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    for (const path of ['fd', 'io']) {
      expect(sampleValue(page, 'netsonde_source_errors_total', { source: 'procfs', path })).toBeGreaterThan(0);
      expect(probes.find(({ name }) => name === path)).toMatchObject({
        state: 'degraded',
        reason: expect.stringMatching(
          /[1-9]\d* of \d+ .* their owners are left out: CAP_SYS_PTRACE is missing \(EACCES/,
        ),
      });
    }
  });
});
