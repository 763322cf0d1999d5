import { deepEqual, equal, ok } from 'node:assert/strict';
import { http } from '#probes/http/http.ts';
import type { Exposition } from '../support/exposition.ts';
import type { TestNetns } from '../support/hosts.ts';
import { type Answers, WebServer } from '../support/http_traffic.ts';
import { runHttp2, startHttp2 } from '../support/http2_traffic.ts';
import { lacksProgram } from '../support/lan/programs.ts';
import { losePackets } from '../support/lost_packets.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';
import type { ScenarioChecks, ScenarioContext } from '../support/scenario.ts';

const { requests, responses, unknown, calls, unseen } = http.metrics;
type Role = 'client' | 'server';
type Read = (page: Exposition, pod: string, role: Role) => Answers;

const codesOf: Read = (page, pod, role) => sumsOf(page, responses.name, { pod, role }, ['method', 'code']);
const statusesOf: Read = (page, pod, role) => sumsOf(page, requests.name, { pod, role, version: '2' }, ['status']);
const causesOf: Read = (page, pod, role) => sumsOf(page, unknown.name, { pod, role }, ['cause']);
const callsOf: Read = (page, pod, role) => sumsOf(page, calls.name, { pod, role }, ['method', 'code']);
const unseenOf: Read = (page, pod, role) => sumsOf(page, unseen.name, { pod, role }, ['cause']);

/** Names of the codes that the methods of http2_peer.ts return, by their number. */
const CODES: Readonly<Record<string, string>> = {
  0: 'OK',
  5: 'NOT_FOUND',
  7: 'PERMISSION_DENIED',
  13: 'INTERNAL',
  14: 'UNAVAILABLE',
};

function minus(after: Answers, before: Answers): Answers {
  const changes = Object.entries(after).map(([key, value]) => [key, value - (before[key] ?? 0)] as const);
  return Object.fromEntries(changes.filter(([, change]) => change !== 0));
}

function total(answers: Answers): number {
  return Object.values(answers).reduce((sum, count) => sum + count, 0);
}

/** What both ends have counted while `cause` ran. */
async function counted<T>(
  { agent }: ScenarioContext,
  from: TestNetns,
  to: TestNetns,
  reads: readonly Read[],
  cause: () => Promise<T>,
): Promise<{ client: readonly Answers[]; server: readonly Answers[]; caused: T }> {
  const before = await agent.page();
  const caused = await cause();
  const after = await agent.page();
  const of = (pod: string, role: Role) => reads.map((read) => minus(read(after, pod, role), read(before, pod, role)));
  return { client: of(from.name, 'client'), server: of(to.name, 'server'), caused };
}

const PORT = 8_070;
const GRPC_PORT = 8_076;

interface Way {
  readonly from: 'a' | 'b';
  readonly family: 'ipv4' | 'ipv6';
}

const OLD_WAY: Way = { from: 'a', family: 'ipv4' };

function ends({ pair }: ScenarioContext, { from, family }: Way) {
  return from === 'a'
    ? { from: pair.a.netns, to: pair.b.netns, host: pair.addressB[family] }
    : { from: pair.b.netns, to: pair.a.netns, host: pair.addressA[family] };
}

function addressOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Sends requests to nginx, and returns what nginx has logged and what both ends have counted. */
async function sendLoad(context: ScenarioContext, way: Way, reads: readonly Read[], count: number, streams: number) {
  const { from, to, host } = ends(context, way);
  await using server = await WebServer.start(to, PORT, PORT + 1, PORT + 2);
  return await counted(context, from, to, reads, async () => {
    const answers = runHttp2(from, 'load', addressOf(host, PORT + 2), count, streams, 4);
    equal(total(answers), count);
    await eventually(() => deepEqual(server.log(), answers));
    return answers;
  });
}

/** Makes calls of gRPC, and returns what the client has seen and what both ends have counted. */
async function makeCalls(context: ScenarioContext, way: Way, reads: readonly Read[], count: number, streams: number) {
  const { from, to, host } = ends(context, way);
  const address = addressOf(host, GRPC_PORT);
  await using _ = await startHttp2(to, 'serve', address);
  return await counted(context, from, to, reads, async () =>
    namedCalls(runHttp2(from, 'call', address, count, streams)),
  );
}

function namedCalls(answers: Answers): Answers {
  return Object.fromEntries(
    Object.entries(answers).map(([key, count]) => {
      const [method = '', code = ''] = key.split(' ');
      return [`${method} ${CODES[code]}`, count];
    }),
  );
}

/** Calls of gRPC on a connection that is older than the probe. */
export class OldCalls implements AsyncDisposable {
  readonly #context: ScenarioContext;
  readonly #server: AsyncDisposable;
  #client: AsyncDisposable | undefined;

  private constructor(context: ScenarioContext, server: AsyncDisposable) {
    this.#context = context;
    this.#server = server;
  }

  static async serve(context: ScenarioContext): Promise<OldCalls> {
    const { to, host } = ends(context, OLD_WAY);
    return new OldCalls(context, await startHttp2(to, 'serve', addressOf(host, GRPC_PORT)));
  }

  /** Opens the connection, and makes a call. */
  async begin(): Promise<void> {
    const { from, host } = ends(this.#context, OLD_WAY);
    this.#client = await startHttp2(from, 'call', addressOf(host, GRPC_PORT), 60, 1, 'wait');
  }

  /** Makes the other calls, and checks what both ends have counted of them. */
  async expectCounted(): Promise<void> {
    const { from, to } = ends(this.#context, OLD_WAY);
    const reads = [statusesOf, callsOf, causesOf];
    const { client, server } = await counted(this.#context, from, to, reads, async () =>
      this.#client?.[Symbol.asyncDispose](),
    );
    for (const [statuses = {}, seen = {}, causes = {}] of [client, server]) {
      equal(total(statuses), 60);
      deepEqual(Object.keys(causes), statuses['unknown'] === undefined ? [] : ['late']);
      equal(causes['late'], statuses['unknown']);
      for (const key of Object.keys(seen)) ok(!/ none$/.test(key), key);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
  }
}

const WAYS: readonly Way[] = [
  { from: 'a', family: 'ipv4' },
  { from: 'b', family: 'ipv6' },
];

const WITH_NGINX: ScenarioChecks = {
  'counts by method and code what nginx logs of HTTP/2, at both ends': async (context) => {
    for (const way of WAYS) {
      const { client, server, caused } = await sendLoad(context, way, [codesOf, causesOf], 480, 10);
      deepEqual(client, [caused, {}], JSON.stringify(way));
      deepEqual(server, [caused, {}], JSON.stringify(way));
    }
  },
  'counts requests of HTTP/2 after a header of the PROXY protocol': async (context) => {
    const { from, to, host } = ends(context, { from: 'a', family: 'ipv4' });
    await using server = await WebServer.start(to, PORT, PORT + 1, PORT + 2);
    const {
      client,
      server: atServer,
      caused,
    } = await counted(context, from, to, [codesOf, causesOf], async () => {
      const answers = runHttp2(from, 'load', addressOf(host, PORT + 3), 120, 4, 2, 'proxied');
      await eventually(() => deepEqual(server.log(), answers));
      return answers;
    });
    deepEqual(client, [caused, {}]);
    deepEqual(atServer, [caused, {}]);
  },
};

export const HTTP2_CHECKS: ScenarioChecks = {
  ...(lacksProgram('nginx') ? {} : WITH_NGINX),
  'counts calls of gRPC by method and code, at both ends': async (context) => {
    for (const way of WAYS) {
      const { client, server, caused } = await makeCalls(context, way, [callsOf, causesOf], 300, 8);
      deepEqual(client, [caused, {}], JSON.stringify(way));
      deepEqual(server, [caused, {}], JSON.stringify(way));
    }
  },
  'counts every request and call while packets are lost, and no status that is wrong': async (context) => {
    const { a, b } = context.pair;
    using _lostAtA = losePackets(a.netns, 1);
    using _lostAtB = losePackets(b.netns, 1);
    const way = { from: 'a', family: 'ipv4' } as const;
    const { client, server, caused } = await makeCalls(context, way, [callsOf, statusesOf, unseenOf], 300, 8);
    for (const [seen = {}, statuses = {}, hidden = {}] of [client, server]) {
      equal(total(statuses), total(caused));
      equal(total(seen), total(caused));
      const certain = Object.entries(seen).filter(([key]) => !key.endsWith(' unseen'));
      for (const [key, count] of certain) ok(count <= (caused[key] ?? 0), `${key}: ${count}`);
      equal(total(seen) - total(Object.fromEntries(certain)), total(hidden));
    }
  },
  'counts calls for which there is no room as unseen': async (context) => {
    const way = { from: 'a', family: 'ipv4' } as const;
    const { client, caused } = await makeCalls(context, way, [callsOf, unseenOf, causesOf], 480, 480);
    const [seen = {}, hidden = {}, causes = {}] = client;
    equal(total(seen), total(caused));
    deepEqual(hidden, causes);
    deepEqual(Object.keys(hidden), ['limit']);
    for (const [key, count] of Object.entries(seen)) ok(/ unseen$/.test(key) || count <= (caused[key] ?? 0), key);
  },
};
