import { expect, it } from 'vitest';
import { DiscoveryStatus } from './discovery_status.ts';

const program = { name: 'work_starts', hook: 'tp_btf/workqueue_execute_start', id: 7, runSeconds: 0 };

it('is degraded if the programs lack something or the agent may not see something, and says since when', () => {
  const registry: { visibilityGap: string | undefined; crowd: string | undefined } = {
    visibilityGap: undefined,
    crowd: undefined,
  };
  let degraded: readonly string[] = [];
  const report = {
    health: () => ({ reader: 'tp_btf', degraded }),
    programs: () => [{ ...program, runs: 5n, missed: 1n }],
  };
  const discovery = new DiscoveryStatus(registry, { report });
  const first = discovery.status(undefined);
  expect(first).toMatchObject({
    name: 'discovery',
    state: 'running',
    reason: '',
    reader: 'tp_btf',
    measured: true,
    programs: [{ ...program, runs: 5, missed: 1 }],
  });
  expect(discovery.status('no run times')).toEqual({ ...first, measured: false });
  degraded = ['births: none'];
  registry.visibilityGap = 'CAP_SYS_PTRACE is missing';
  const now = discovery.status(undefined);
  expect(now).toMatchObject({ state: 'degraded', reason: 'births: none; CAP_SYS_PTRACE is missing' });
  expect(Date.parse(now.since)).toBeGreaterThanOrEqual(Date.parse(first.since));
  expect(discovery.status(undefined).since).toBe(now.since);
});

it('has no programs if none could be loaded', () => {
  const report = { health: () => ({ reader: 'scan', degraded: ['no BTF'] }) };
  expect(
    new DiscoveryStatus({ visibilityGap: undefined, crowd: undefined }, { report }).status(undefined).programs,
  ).toEqual([]);
});
