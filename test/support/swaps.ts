import { mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ConfigStatus } from '#api/config.ts';
import type { ProbeReport } from '#api/probes.ts';
import { AgentProcess } from './agent_process.ts';
import { only } from './kernel.ts';
import { eventually } from './oracle.ts';
import { swap } from './toggle.ts';

/** Invalid documents and their errors. An undefined document means that the key is missing from the ConfigMap. */
const BAD: readonly (readonly [text: string | undefined, faults: readonly (string | RegExp)[]])[] = [
  ['probs: {}', ['probs']],
  ['probes: { packetlos: {}, tpc: {} }', ['probes.packetlos', 'probes.tpc']],
  ['detail: 5\nprobes: { udp: maybe, tcp: { detail: x } }', ['detail', 'probes.tcp.detail', 'probes.udp']],
  ['', ['']],
  [undefined, ['']],
  ['\0\xff'.repeat(500_000), ['']],
  [
    'nodes: { "pool in x": {}, nobody: { probes: { udp: { limit: 0 } } } }',
    ['nodes.nobody.probes.udp.limit', 'nodes["pool in x"]'],
  ],
  ['probes: { udp: { for: 0s }, tcp: { for: 1m, until: 2099-01-01T00:00:00Z } }', ['probes.udp.for', 'probes.tcp']],
  ['probes: { udp: { until: 2020-01-01T00:00:00Z } }', ['probes.udp.until']],
];

/** Removes the key from the mounted ConfigMap. */
function swapAway(directory: string, generation: number): void {
  const folder = `..data_${generation}`;
  mkdirSync(join(directory, folder));
  symlinkSync(folder, join(directory, '..data_tmp'));
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  rmSync(join(directory, `..data_${generation - 1}`), { recursive: true });
}

/**
 * Applies `times` valid configurations, each followed by an invalid one. Checks that an invalid configuration changes
 * only the reported status.
 * @returns the time of the slowest swap in milliseconds
 */
export async function swapConfigurations(directory: string, times: number): Promise<number> {
  const textOf = (turn: number) => `# ${turn}\n${only({ udp: turn % 2 === 0 })}`;
  let generation = 0;
  swap(directory, textOf(0), generation);
  await using agent = await AgentProcess.serve(['--config', join(directory, 'config.yaml')]);
  const status = () => agent.json<ConfigStatus>('/api/v1/config');
  const udp = async () => {
    const { probes } = await agent.json<{ probes: ProbeReport[] }>('/api/v1/probes');
    return probes.find(({ name }) => name === 'udp');
  };
  let slowestMs = 0;
  for (let turn = 1; turn <= times; turn++) {
    const wanted = turn % 2 === 0 ? 'running' : 'stopped';
    swap(directory, textOf(turn), ++generation);
    const start = performance.now();
    await eventually(async () => {
      expect(await status()).toMatchObject({ generation: turn + 1, successful: true });
      expect((await udp())?.state).toBe(wanted);
    });
    slowestMs = Math.max(slowestMs, performance.now() - start);

    const before = await udp();
    const [text, faults] = BAD[turn % BAD.length] ?? ['', []];
    if (text === undefined) swapAway(directory, ++generation);
    else swap(directory, text, ++generation);
    await eventually(async () => expect(await status()).toMatchObject({ generation: turn + 1, successful: false }));
    expect((await status()).rejected?.faults.map(({ path }) => path)).toEqual(faults);
    expect(await udp()).toMatchObject({ state: wanted, since: before?.since });
  }
  return slowestMs;
}
