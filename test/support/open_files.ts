import { expect } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import type { TestPod } from './cgroups.ts';
import { run } from './command.ts';
import { type Exposition, sampleValue } from './exposition.ts';
import type { TestNetns } from './hosts.ts';
import type { TestKernel } from './kernel.ts';
import { eventually } from './oracle.ts';
import type { Worker, Workers } from './workers.ts';

/** Counts of a Pod's open files. */
export interface Usage {
  readonly open: number | undefined;
  readonly sockets: number | undefined;
  readonly limitUsed: number | undefined;
}

/** Returns the counts that a page shows for a Pod. */
export function usageOf(page: Exposition, pod: string): Usage {
  return {
    open: sampleValue(page, 'netsonde_open_file_descriptors', { pod }),
    sockets: sampleValue(page, 'netsonde_open_sockets', { pod }),
    limitUsed: sampleValue(page, 'netsonde_file_descriptor_limit_used_ratio', { pod }),
  };
}

/** Returns the counts according to `ls` for these processes. */
export function listed(processes: readonly Worker[]): Usage {
  const links = processes.map(({ pid }) => run('ls', '-l', `/proc/${pid}/fd`).match(/ -> .*/g) ?? []);
  const limits = processes.map(({ pid }) =>
    Number(/Max open files +(\d+)/.exec(run('cat', `/proc/${pid}/limits`))?.[1]),
  );
  return {
    open: links.flat().length,
    sockets: links.flat().filter((link) => link.startsWith(' -> socket:')).length,
    limitUsed: Math.max(...links.map((all, index) => all.length / (limits[index] ?? 0))),
  };
}

/** Starts a process in the Pod with nine threads and these numbers of open files and sockets. */
export async function startIn(workers: Workers, netns: TestNetns, pod: TestPod, files: number, sockets: number) {
  const worker = await workers.start(netns);
  pod.add(worker.pid);
  await worker.threads(8);
  await worker.files(files);
  await worker.sockets(sockets);
  return worker;
}

/** Waits until the counts of a Pod or namespace are on the page. */
export async function untilShown(agent: TestKernel, pod: string): Promise<void> {
  await eventually(async () => expect(usageOf(await agent.page(), pod).open).toBeDefined());
}

/** Returns the status of the probe `fd`. */
export function statusOf(agent: TestKernel): ProbeStatus | undefined {
  return agent.kernel.probes().find(({ name }) => name === 'fd');
}
