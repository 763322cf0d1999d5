import { BpfStats } from 'bpf-napi';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TcpEndsObject } from '#probe/tcp_ends_object.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { playScene } from '../support/scene.ts';
import { slowEndsOfSockets } from '../support/slowed.ts';
import { UnseenCloses } from '../support/unseen_closes.ts';

const SPARE = 'tcp_end_third';
const SILENT = 300;
const ITERATIONS = 20_000;
const REFUSED = 20_000;

/**
 * Fills a CPU with refused connections so that the process spends most of its time in the programs. Meanwhile, a timer
 * interrupts the process to close connections to a port that drops their SYNs. If the interrupt hits a running program,
 * the kernel skips the program's run for the closed connection.
 */
const INTERRUPTED = `
os.sched_setaffinity(0, {0})
drop(B, 'tcp dport 7002 drop')
silent = []
for _ in range(${SILENT}):
    one = sock(A)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
    one.setblocking(False)
    one.connect_ex((ADDRESS[B], 7002))
    silent.append(one)
poll = select.poll()
for one in silent: poll.register(one, select.POLLERR)
refused = 0
while len(poll.poll(0)) < ${SILENT}:
    assert refused < ${REFUSED}
    one = sock(A)
    one.connect_ex((ADDRESS[B], 7003))
    one.close()
    refused += 1
for one in silent: one.close()
undrop(B)
print(refused)
`;

let pair: HostPair;
let agent: TestKernel | undefined;

beforeEach(async () => {
  pair = await HostPair.create();
});

afterEach(async () => {
  vi.restoreAllMocks();
  await agent?.[Symbol.asyncDispose]();
  agent = undefined;
  await pair[Symbol.asyncDispose]();
});

const open = () => TestKernel.open(only({ flow: { enabled: true, detail: 'full' }, tcpconnect: { enabled: true } }));

const programs = () => agent?.kernel.probes().flatMap((probe) => probe.programs) ?? [];
const missedBy = (name: string) => programs().find((program) => program.name === name)?.missed;

function failures(page: Exposition, cause: string): number {
  return sampleValue(page, 'netsonde_tcp_connect_failures_total', { pod: pair.a.netns.name, cause }) ?? 0;
}

/**
 * Plays the scene until the kernel has skipped a run, which is a matter of chance: a timer must expire while the program
 * is running and not while the process waits for a CPU. Returns the numbers of failed connections.
 */
async function playUntilSkipped(): Promise<{ readonly refused: number; readonly silent: number }> {
  let [refused, silent] = [0, 0];
  await eventually(async () => {
    const { printed } = await playScene(pair, 'ipv4', INTERRUPTED);
    refused += printed[0] ?? Number.NaN;
    silent += SILENT;
    expect(missedBy('tcp_end')).toBeGreaterThan(0);
  });
  return { refused, silent };
}

/** Opens an agent in which the first copy of the program is slow. */
async function openSlowed(): Promise<void> {
  await agent?.[Symbol.asyncDispose]();
  agent = undefined;
  using _slow = slowEndsOfSockets(ITERATIONS);
  agent = await open();
}

/** Returns the number of times that the third copy runs while a listening socket is opened and closed. */
async function runsOfSpare(): Promise<number> {
  const runs = () => programs().find(({ name }) => name === SPARE)?.runs ?? 0;
  const before = runs();
  pair.a.netns.python('import socket; socket.create_server(("127.0.0.1", 0)).close()');
  return runs() - before;
}

describe('copies of the program at the end of sockets', () => {
  it('count every socket, although the kernel skips runs of them', async () => {
    await openSlowed();
    using unseen = new UnseenCloses();
    const { refused, silent } = await playUntilSkipped();
    const page = await eventually(async () => {
      const now = await (agent as TestKernel).page();
      expect(failures(now, 'refused')).toBe(refused);
      expect(failures(now, 'timeout')).toBeGreaterThanOrEqual(silent - unseen.count);
      expect(failures(now, 'timeout')).toBeLessThanOrEqual(silent);
      return now;
    });
    const labels = { probe: 'tcpconnect', program: 'tcp_end' };
    expect(sampleValue(page, 'netsonde_probe_missed_total', labels)).toBe(missedBy('tcp_end'));
  });

  it('are two after a minute in which none was skipped, and three again from the first skipped run on', async () => {
    using _stats = new BpfStats();
    const opened = vi.spyOn(TcpEndsObject, 'open');
    // If the kernel skips a run for a socket of another process, this agent keeps its third copy.
    await eventually(async () => {
      await openSlowed();
      expect(await runsOfSpare()).toBeGreaterThan(0);
      const ends = await opened.mock.results.at(-1)?.value;
      ends.watchCopies(performance.now() + 60_000);
      expect(await runsOfSpare()).toBe(0);
    });
    await playUntilSkipped();
    // The agent detects the skipped run during a scrape.
    await agent?.page();
    await eventually(async () => expect(await runsOfSpare()).toBeGreaterThan(0));
  });
});
