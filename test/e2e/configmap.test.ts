import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ConfigStatus } from '#api/config.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { configMapObject, nodeObject } from '../support/api_objects.ts';
import { type ApiObject, ApiServer } from '../support/api_server.ts';
import { updateConfigMap } from '../support/configmap.ts';
import { sampleValue } from '../support/exposition.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const NODE = 'node-1';
const TIMES = 8;

let server: ApiServer;
const uid = randomUUID();

beforeAll(async () => {
  server = await ApiServer.start();
  server.put('nodes', nodeObject(NODE));
});

afterAll(() => server?.[Symbol.asyncDispose]());

function write(text: string, key = 'netsonde.yaml'): void {
  server.put('configmaps', configMapObject('netsonde', 'netsonde', { [key]: text }, uid));
}

function serve(): Promise<AgentProcess> {
  return AgentProcess.serve(['--kubernetes', 'on', '--configmap', 'netsonde/netsonde'], [], server.environment(NODE));
}

const statusOf = (agent: AgentProcess) => agent.json<ConfigStatus>('/api/v1/config');

async function isOn(agent: AgentProcess, probe: string): Promise<boolean> {
  return sampleValue(await agent.page(), 'netsonde_probe_state', { probe, state: 'running' }) === 1;
}

it(`${TIMES} updates through the API are applied; bad ones in between change nothing`, async () => {
  await updateConfigMap(server, TIMES);
});

it('all agents report a bad one in one Event on the ConfigMap', async () => {
  write(only({}));
  await using one = await serve();
  await using two = await serve();
  for (const agent of [one, two]) {
    expect(await statusOf(agent)).toMatchObject({
      file: null,
      configMap: 'netsonde/netsonde/netsonde.yaml',
      generation: 1,
      successful: true,
    });
  }
  write('probes: { udpp: false }\n');
  for (const agent of [one, two]) {
    await eventually(async () => expect(await statusOf(agent)).toMatchObject({ generation: 1, successful: false }));
    expect(await isOn(agent, 'udp')).toBe(false);
  }
  await eventually(() => expect(server.conflicts).toBe(1));
  const ofOurs = ({ involvedObject }: ApiObject) => (involvedObject as { uid?: string }).uid === uid;
  const [event, ...others] = server.list('events').filter(ofOurs);
  expect(others).toEqual([]);
  expect(event).toMatchObject({
    metadata: { namespace: 'netsonde', name: expect.stringMatching(/^netsonde\.[0-9a-f]{16}$/) },
    involvedObject: { kind: 'ConfigMap', namespace: 'netsonde', name: 'netsonde', uid },
    type: 'Warning',
    reason: 'ConfigurationRejected',
    message: expect.stringContaining('did you mean udp?'),
  });
  for (const [text, key, fault] of [
    ['{}', 'other.yaml', /has no key netsonde\.yaml; it has: other\.yaml/],
    ['\0\xff garbage: [', 'netsonde.yaml', /invalid YAML/],
    [`x: ${'y'.repeat(1_050_000)}`, 'netsonde.yaml', /longer than/],
    ['', 'netsonde.yaml', /empty/],
  ] as const) {
    write(text, key);
    await eventually(async () => {
      const { rejected, successful } = await statusOf(one);
      expect(successful).toBe(false);
      expect(rejected?.faults.map(({ allowed }) => allowed).join()).toMatch(fault);
    });
  }
  server.delete('configmaps', uid);
  await eventually(async () => {
    expect((await statusOf(one)).rejected?.faults[0]?.allowed).toContain('there is no ConfigMap netsonde/netsonde');
  });
  expect(await isOn(one, 'udp')).toBe(false);
  write(only({ udp: true }));
  await eventually(async () => expect(await statusOf(one)).toMatchObject({ generation: 2, successful: true }));
  expect(await isOn(one, 'udp')).toBe(true);
});

it('an agent that starts without the API runs with all defaults, and applies the configuration once the API is back', async () => {
  write('probes: { udp: false }\n');
  await server.kill();
  await using agent = await serve();
  expect(await statusOf(agent)).toMatchObject({ generation: 0, successful: false });
  expect(await isOn(agent, 'udp')).toBe(true);
  await wait(2_000);
  await server.restart(50_000);
  await eventually(async () => expect(await statusOf(agent)).toMatchObject({ generation: 1, successful: true }));
  expect(await isOn(agent, 'udp')).toBe(false);
});

it('an agent that starts with an invalid one runs with all defaults, and reports that', async () => {
  write('probes: 5\n');
  await using agent = await serve();
  const status = await statusOf(agent);
  expect(status).toMatchObject({ generation: 0, successful: false });
  expect(status.rejected?.faults[0]?.path).toBe('probes');
  expect(await isOn(agent, 'udp')).toBe(true);
  expect((await agent.get('/readyz')).status).toBe(200);
});

it.each([
  [['--configmap', 'netsonde/netsonde'], /--configmap needs the API; add --kubernetes on/],
  [['--kubernetes', 'on', '--configmap', 'netsonde'], /--configmap netsonde: must be NAMESPACE\/NAME/],
  [['--kubernetes', 'perhaps'], /--kubernetes perhaps: must be one of auto, off, on/],
  [['--kubernetes', 'on'], /--kubernetes on: no service account is mounted/],
])('%j is refused in one line', async (args, message) => {
  const env = { KUBECONFIG: '', HOME: '/nonexistent', KUBERNETES_SERVICE_HOST: '' };
  await using agent = AgentProcess.run(['serve', '--listen', '127.0.0.1:0', ...args], [], env);
  expect((await agent.exited).code).toBe(1);
  expect(agent.stderr).toMatch(message);
  expect(agent.stderr.trim().split('\n')).toHaveLength(1);
});
