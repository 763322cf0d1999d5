import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { http } from '#probes/http/http.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { HostPair } from '../support/hosts.ts';
import { HttpProcess } from '../support/http_traffic.ts';
import { only } from '../support/kernel.ts';
import { MemoryGroup } from '../support/memory_group.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';

const PROGRAM = fileURLToPath(new URL('../support/many_connections.py', import.meta.url));
const CONNECTIONS = 100_000;
const SOCKETS = 2 * CONNECTIONS;
const PORT = 9_000;
const MB = 2 ** 20;
/** Segments with data of an exchange, as seen by a socket: the request and the response. */
const SEGMENTS = 2;

const { responses, requests, refused, givenUp, late, connections } = http.metrics;

interface Seen {
  readonly counted: { readonly client: number; readonly server: number };
  readonly refused: number;
  /** Number of sockets that have a state. */
  readonly states: number;
  readonly others: number;
  /** Growth of the memory that is charged to the agent, and to the process with the sockets; undefined without cgroups. */
  readonly agentBytes: number | undefined;
  readonly applicationBytes: number | undefined;
}

/** Opens connections with a request each while an agent runs. @param limit value of the option `connections` */
async function openMany(limit: number): Promise<Seen> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await mkdtempDisposable(join(tmpdir(), 'connections-')));
  const config = join(path, 'config.yaml');
  writeFileSync(config, only({ http: { enabled: true, connections: limit } }, { detail: 'full' }));
  const pair = stack.use(await HostPair.create());
  const [ofAgent, ofApplication] = [stack.use(MemoryGroup.make()), stack.use(MemoryGroup.make())];
  const agent = stack.use(await AgentProcess.serve(['--config', config], ofAgent.wrapper));
  await eventually(async () => expect((await agent.page()).named.has(requests.name)).toBe(true));
  const { a, b, addressB } = pair;
  const before = ofAgent.workingSetBytes;
  const [command = 'python3', ...rest] = [...ofApplication.wrapper, 'python3', PROGRAM];
  const args = [a.netns.name, b.netns.name, addressB.ipv4, PORT, CONNECTIONS].map(String);
  stack.use(await HttpProcess.run(a.netns, [...rest, ...args], command));
  const minus = (after: number | undefined, then: number | undefined) =>
    after === undefined || then === undefined ? undefined : after - then;
  const agentBytes = minus(ofAgent.workingSetBytes, before);
  const page = await agent.page();
  const total = (name: string, pod: string, role?: string) =>
    Object.values(sumsOf(page, name, role === undefined ? { pod } : { pod, role }, [])).reduce(
      (sum, count) => sum + count,
      0,
    );
  const pods = [a.netns.name, b.netns.name];
  const ofBoth = (name: string) => pods.reduce((sum, pod) => sum + total(name, pod), 0);
  return {
    counted: {
      client: total(responses.name, a.netns.name, 'client'),
      server: total(responses.name, b.netns.name, 'server'),
    },
    refused: ofBoth(refused.name),
    states: ofBoth(connections.name),
    others: ofBoth(givenUp.name) + ofBoth(late.name),
    agentBytes,
    applicationBytes: ofApplication.workingSetBytes,
  };
}

function tell(limit: number, { agentBytes = 0, applicationBytes = 0, counted, refused }: Seen): void {
  const [agent, application] = [agentBytes, applicationBytes].map((bytes) => `${(bytes / MB).toFixed(0)} MB`);
  process.stdout.write(
    `${CONNECTIONS} connections, limit ${limit}: ${JSON.stringify(counted)}, ${refused} segments refused; memory of the agent +${agent}, of the application ${application}\n`,
  );
}

it(`counts a request on each of ${CONNECTIONS} connections, whose states are charged to the agent`, async () => {
  const limit = 2 * SOCKETS;
  const seen = await openMany(limit);
  tell(limit, seen);
  expect(seen.counted).toEqual({ client: CONNECTIONS, server: CONNECTIONS });
  expect(seen.refused + seen.others).toBe(0);
  // A state takes 1.1 kB, with what the kernel's allocator adds.
  if (seen.agentBytes !== undefined) {
    expect(seen.agentBytes / SOCKETS).toBeGreaterThan(1_000);
    expect(seen.agentBytes / SOCKETS).toBeLessThan(3_000);
  }
}, 1_200_000);

it('counts the segments of connections beyond the limit, and no others', async () => {
  const limit = 65_536;
  const seen = await openMany(limit);
  tell(limit, seen);
  const counted = seen.counted.client + seen.counted.server;
  // Other connections of the machine may have some of the states.
  expect(counted).toBeLessThanOrEqual(limit);
  expect(counted).toBeGreaterThan(limit / 2);
  // When another connection of the machine ends, a socket may get its state between the two segments.
  expect(seen.refused).toBe(SEGMENTS * (SOCKETS - seen.states) + (seen.states - counted));
  expect(seen.states - counted).toBeLessThan(counted / 100);
}, 1_200_000);
