import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { ConfigStatus } from '#api/config.ts';
import { AgentProcess } from './agent_process.ts';
import { configMapObject } from './api_objects.ts';
import type { ApiServer } from './api_server.ts';
import { sampleValue } from './exposition.ts';
import { only } from './kernel.ts';
import { eventually } from './oracle.ts';

const BAD = 'probes: { udp: perhaps }\n';

/**
 * Updates a ConfigMap through the API `times` times, with an invalid version after each valid one. Checks that the
 * agent applies each valid version and rejects each invalid one. Returns the time of the slowest update in
 * milliseconds.
 */
export async function updateConfigMap(server: ApiServer, times: number): Promise<number> {
  const uid = randomUUID();
  const [namespace, name] = ['netsonde', `updated-${uid.slice(0, 8)}`];
  const write = (text: string) =>
    server.put('configmaps', configMapObject(name, namespace, { 'netsonde.yaml': text }, uid));
  write(only({ udp: true }));
  await using agent = await AgentProcess.serve(
    ['--kubernetes', 'on', '--configmap', `${namespace}/${name}`],
    [],
    server.environment('node-1'),
  );
  const status = () => agent.json<ConfigStatus>('/api/v1/config');
  const isOff = async () => sampleValue(await agent.page(), 'netsonde_probe_state', { probe: 'udp', state: 'stopped' });
  await eventually(() => {
    // The agent must use a watch, because only a watch reports changes immediately.
    expect(server.requests.some(({ resource, isWatch }) => resource === 'configmaps' && isWatch)).toBe(true);
  });
  let slowestMs = 0;
  for (let index = 0; index < times; index++) {
    const { generation } = await status();
    const on = index % 2 === 1;
    const startMs = performance.now();
    write(`${only({ udp: on })} # ${index}\n`);
    await eventually(async () =>
      expect(await status()).toMatchObject({ generation: generation + 1, successful: true }),
    );
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    expect(await isOff()).toBe(on ? 0 : 1);
    write(`${BAD}# ${index}\n`);
    await eventually(async () =>
      expect(await status()).toMatchObject({ generation: generation + 1, successful: false }),
    );
    expect(await isOff()).toBe(on ? 0 : 1);
  }
  server.delete('configmaps', uid);
  return slowestMs;
}
