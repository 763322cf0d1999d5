import { execFile } from 'node:child_process';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HostPair } from '../../test/support/hosts.ts';
import { only, TestKernel } from '../../test/support/kernel.ts';
import { buildBpf, buildProgram } from '../kernel/build.ts';
import type { Row } from '../measure.ts';
import { measureAgent } from './agent_cpu.ts';
import { measureOtherPackets } from './other_packets.ts';
import { measurePairs } from './pairs.ts';
import { measurePrograms } from './programs.ts';
import { Traffic } from './traffic.ts';

const execute = promisify(execFile);
const DATAGRAMS = 128_000;
const PARTS = ['programs', 'other', 'pairs', 'agent'] as const;

/**
 * Measures what `http` and `dns` cost: the run time of their programs, the CPU time of servers, and that of the agent.
 * @param parts names of PARTS; all if undefined
 */
export async function benchRequests(parts: readonly string[] = PARTS): Promise<Row[]> {
  const unknown = parts.find((part) => !PARTS.some((name) => name === part));
  if (unknown !== undefined) throw new Error(`no part ${unknown}; there are ${PARTS.join(', ')}`);
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'bench-'))).path;
  const pair = stack.use(await HostPair.create());
  const traffic = stack.use(await Traffic.start(pair, folder, buildProgram('requests.c', folder)));
  const rows: Row[] = [];
  const file = buildBpf('empty_cgroup.bpf.c', folder);
  if (parts.includes('programs')) {
    await using agent = await TestKernel.open(only({}));
    rows.push(...(await measurePrograms(agent, file, traffic)));
  }
  if (parts.includes('other')) {
    await using agent = await TestKernel.open(only({}));
    const program = buildProgram('flood.c', folder);
    const flood = async () => {
      const args = [pair.a.netns.name, pair.b.netns.name, pair.addressB.ipv4, '7004', String(DATAGRAMS), '1'];
      await execute(program, args);
    };
    rows.push(...(await measureOtherPackets(agent, file, traffic, flood)));
  }
  if (parts.includes('pairs')) {
    await using agent = await TestKernel.open(only({}));
    rows.push(...(await measurePairs(agent, traffic)));
  }
  if (parts.includes('agent')) rows.push(...(await measureAgent(traffic, folder)));
  return rows;
}
