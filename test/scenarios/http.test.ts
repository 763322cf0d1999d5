import { deepEqual, equal, ok } from 'node:assert/strict';
import { http } from '#probes/http/http.ts';
import { HTTP_EDGE_METRICS } from '#probes/http/http_metrics.ts';
import type { Exposition } from '../support/exposition.ts';
import { sampleValue } from '../support/exposition.ts';
import type { TestNetns } from '../support/hosts.ts';
import { type Answers, HttpProcess, type Load, loadHttp, runHttp, WebServer } from '../support/http_traffic.ts';
import { only, probesOf } from '../support/kernel.ts';
import { lacksProgram } from '../support/lan/programs.ts';
import { losePackets } from '../support/lost_packets.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';
import { defineScenario, type ScenarioChecks, type ScenarioContext } from '../support/scenario.ts';
import { HTTP2_CHECKS, OldCalls } from './http2_checks.ts';

const { requests, responses, durations, open, unknown, late, refused, givenUp } = http.metrics;
type Role = 'client' | 'server';

/** Returns the responses by method and code. */
function codesOf(page: Exposition, pod: string, role: Role): Answers {
  return sumsOf(page, responses.name, { pod, role }, ['method', 'code']);
}

/** Returns the ended requests by class. */
function statusesOf(page: Exposition, pod: string, role: Role): Answers {
  return sumsOf(page, requests.name, { pod, role }, ['status']);
}

function minus(after: Answers, before: Answers): Answers {
  const changes = Object.entries(after).map(([key, value]) => [key, value - (before[key] ?? 0)] as const);
  return Object.fromEntries(changes.filter(([, change]) => change !== 0));
}

function total(answers: Answers): number {
  return Object.values(answers).reduce((sum, count) => sum + count, 0);
}

/** Counts of both ends of the traffic from one namespace to another. */
async function seen(
  { agent }: ScenarioContext,
  from: TestNetns,
  to: TestNetns,
  read: (page: Exposition, pod: string, role: Role) => Answers = codesOf,
): Promise<{ client: Answers; server: Answers }> {
  const page = await agent.page();
  return { client: read(page, from.name, 'client'), server: read(page, to.name, 'server') };
}

interface Way {
  readonly from: 'a' | 'b';
  readonly family: 'ipv4' | 'ipv6';
  readonly deferred?: boolean;
}

const PORT = 8_080;
const DEFERRED_PORT = 8_081;

/** Sends requests to nginx, and checks that both ends have counted what nginx has logged. */
async function expectLoad(context: ScenarioContext, way: Way, load: Load): Promise<void> {
  const { pair } = context;
  const [from, to] = way.from === 'a' ? [pair.a, pair.b] : [pair.b, pair.a];
  const address = (way.from === 'a' ? pair.addressB : pair.addressA)[way.family];
  await using server = await WebServer.start(to.netns, PORT, DEFERRED_PORT);
  const before = await seen(context, from.netns, to.netns);
  const answers = loadHttp(from.netns, address, way.deferred ? DEFERRED_PORT : PORT, load);
  equal(total(answers), load.count);
  await eventually(() => deepEqual(server.log(), answers));
  const after = await seen(context, from.netns, to.netns);
  const message = JSON.stringify({ way, load });
  deepEqual(minus(after.server, before.server), answers, `server: ${message}`);
  deepEqual(minus(after.client, before.client), answers, `client: ${message}`);
}

const WAYS: readonly Way[] = [
  { from: 'a', family: 'ipv4' },
  { from: 'a', family: 'ipv4', deferred: true },
  { from: 'b', family: 'ipv6', deferred: true },
];

/** Checks that need nginx. */
const WITH_NGINX: ScenarioChecks = {
  'counts by method and code what nginx logs, at both ends': async (context) => {
    for (const [index, way] of WAYS.entries()) {
      for (const depth of [1, 4, 16]) {
        await expectLoad(context, way, { count: 160 * (index + depth), depth, connections: 8 });
      }
    }
  },
  'counts requests that are sent in pieces': async (context) => {
    for (const depth of [1, 16]) {
      await expectLoad(context, { from: 'a', family: 'ipv4' }, { count: 320, depth, connections: 4, style: 'pieces' });
    }
  },
  'counts requests whose headers take many segments': async (context) => {
    const { a, b, deviceA, deviceB } = context.pair;
    const set = (options: string) => {
      a.netns.ip(`link set ${deviceA} ${options}`);
      b.netns.ip(`link set ${deviceB} ${options}`);
    };
    set('mtu 400 gso_max_segs 1');
    try {
      for (const depth of [1, 4]) {
        await expectLoad(context, { from: 'a', family: 'ipv4' }, { count: 320, depth, connections: 4 });
      }
    } finally {
      // IPv6 addresses are removed when the MTU is below 1280 bytes.
      set('mtu 1500 gso_max_segs 65535');
      context.pair.a.netns.ip(`addr replace ${context.pair.addressA.ipv6}/64 dev ${deviceA} nodad`);
      context.pair.b.netns.ip(`addr replace ${context.pair.addressB.ipv6}/64 dev ${deviceB} nodad`);
    }
  },
  'counts every request while packets are lost, and no status that is wrong': async (context) => {
    const { a, b, addressB } = context.pair;
    using _lostAtA = losePackets(a.netns, 1);
    using _lostAtB = losePackets(b.netns, 1);
    await using server = await WebServer.start(b.netns, PORT, DEFERRED_PORT);
    for (const [depth, port] of [
      [1, DEFERRED_PORT],
      [1, PORT],
      [16, PORT],
    ] as const) {
      const logged = server.log();
      const codes = await seen(context, a.netns, b.netns);
      const statuses = await seen(context, a.netns, b.netns, statusesOf);
      const answers = loadHttp(a.netns, addressB.ipv4, port, { count: 800, depth, connections: 8 });
      await eventually(() => deepEqual(minus(server.log(), logged), answers));
      const codesNow = await seen(context, a.netns, b.netns);
      const statusesNow = await seen(context, a.netns, b.netns, statusesOf);
      for (const end of ['client', 'server'] as const) {
        const counted = minus(codesNow[end], codes[end]);
        const { unknown: without = 0, ...withStatus } = minus(statusesNow[end], statuses[end]);
        if (depth === 1) deepEqual(counted, answers, end);
        equal(total(withStatus), total(counted));
        equal(without + total(counted), 800, end);
        for (const [key, count] of Object.entries(counted)) ok(count <= (answers[key] ?? 0), `${end}: ${key}`);
      }
    }
  },
};

/** Responses to `talk` of http_traffic.py. */
const TALK: Answers = {
  'GET 200': 14,
  'PUT 201': 1,
  'GET 304': 1,
  'HEAD 200': 1,
  'GET 404': 1,
  'GET 101': 1,
  'CONNECT 200': 1,
  'TRACE 200': 1,
  'other 200': 6,
  'GET 503': 1,
};

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `traceparent: 00-${TRACE}-00f067aa0ba902b7-01`;
const SW8 = 'd5980a81ca5a4b5a8f7c1a1e7c6e7e9a.44.16123456789010001';
/** Headers of 850 bytes, as a browser sends them. */
const BROWSER = ['User-Agent', 'Accept', 'Cookie', 'Referer'].map((name) => `${name}: ${'y'.repeat(200)}`);

/** Headers of requests, where to split them, and the ID of the trace that the event must have. */
const TRACED: readonly {
  readonly headers: readonly string[];
  readonly cuts?: readonly number[];
  readonly id?: string;
}[] = [
  { headers: [PARENT], id: TRACE },
  { headers: [...BROWSER, PARENT], id: TRACE },
  { headers: [`Cookie: ${'y'.repeat(20_000)}`, 'Accept: */*', PARENT, ...BROWSER], id: TRACE },
  // The line is split at each of its parts, and into many segments.
  ...[35, 40, 50, 60, 70, 95].map((cut) => ({ headers: [PARENT], cuts: [cut], id: TRACE })),
  { headers: [PARENT], cuts: Array.from({ length: 20 }, (_, index) => 36 + 3 * index), id: TRACE },
  { headers: ['b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1'], id: '80f198ee56343ba864fe8b2a57d3eff7' },
  { headers: ['X-B3-TraceId: 80F198EE56343BA8'], id: '80f198ee56343ba8' },
  { headers: [`sw8: 1-${Buffer.from(SW8).toString('base64')}-${'x'.repeat(200)}`], id: SW8 },
  { headers: [`sw8: 1-${Buffer.from(SW8).toString('base64')}-1`], cuts: [60, 100], id: SW8 },
  { headers: ['X-Request-ID: f47ac10b-58cc-4372-a567-0e02b2c3d479'], id: 'f47ac10b-58cc-4372-a567-0e02b2c3d479' },
  { headers: ['X-Request-ID: first', PARENT, 'b3: 80f198ee56343ba8-e457b5a2e4d86bd1'], id: TRACE },
  { headers: [PARENT, PARENT.replace('4bf9', 'aaaa')], id: TRACE },
  // These have none.
  { headers: [] },
  { headers: ['x-traceparent: 1', `traceparent2: 00-${TRACE}-00f067aa0ba902b7-01`] },
  { headers: [`traceparent: 00-${'0'.repeat(32)}-00f067aa0ba902b7-01`] },
  { headers: ['traceparent:', 'traceparent: \u0000\u001b[2J', 'b3: "} 1', 'X-Request-ID: a"} 9 # {x="'] },
  { headers: [`X-Request-ID: ${'a'.repeat(5_000)}`] },
];

async function talk({ pair: { a, b, addressB } }: Pick<ScenarioContext, 'pair'>): Promise<void> {
  await using _ = await HttpProcess.start(b.netns, 'serve', addressB.ipv4, 8_090);
  runHttp(a.netns, 'talk', addressB.ipv4, 8_090);
}

export default defineScenario(http, {
  beside: { flow: HTTP_EDGE_METRICS },
  runsWith: ({ loops }) => loops,
  reason: /^this kernel lacks the BPF helper bpf_loop$/,
  options: { slow: '200ms' },
  cause: async ({ pair: { a, b, addressA, addressB } }) => {
    for (const [from, to, address] of [
      [a, b, addressB],
      [b, a, addressA],
    ] as const) {
      await using _ = await HttpProcess.start(to.netns, 'serve', address.ipv4, 8_089);
      runHttp(from.netns, 'talk', address.ipv4, 8_089);
    }
  },
  checks: {
    ...(lacksProgram('nginx') ? {} : WITH_NGINX),
    ...HTTP2_CHECKS,
    'understands interim responses, responses without a body, chunks, upgrades, tunnels and proxies': async (
      context,
    ) => {
      const { a, b } = context.pair;
      const before = await seen(context, a.netns, b.netns);
      const statuses = await seen(context, a.netns, b.netns, statusesOf);
      await talk(context);
      await eventually(async () => {
        const after = await seen(context, a.netns, b.netns);
        deepEqual(minus(after.server, before.server), TALK);
        deepEqual(minus(after.client, before.client), TALK);
      });
      const after = await seen(context, a.netns, b.netns, statusesOf);
      for (const end of ['client', 'server'] as const) equal(minus(after[end], statuses[end])['none'], 1);
    },
    'reports the requests that failed, and those that were slow': async ({ pair, agent }) => {
      agent.events.length = 0;
      await talk({ pair });
      const address = pair.addressB.ipv4;
      await eventually(() => {
        // On a busy machine, others may be slow, too.
        const expected = agent.events.filter(({ type, path }) => type !== 'http_request_slow' || path === '/slow');
        const told = expected.map(({ type, pod, dst, role, method, path, status }) => ({
          type,
          pod,
          dst,
          role,
          what: `${method} ${path} ${status}`,
        }));
        for (const [pod, role] of [
          [pair.a.netns.name, 'client'],
          [pair.b.netns.name, 'server'],
        ]) {
          const of = told.filter((each) => each.pod === pod).map(({ type, what }) => `${type}: ${what}`);
          deepEqual(of.sort(), [
            'http_request_failed: GET /die none',
            'http_request_failed: GET /error 503',
            'http_request_slow: GET /slow 200',
          ]);
          ok(
            told
              .filter((each) => each.pod === pod)
              .every((each) => each.role === role && each.dst === `${address}:8090`),
          );
        }
      });
      for (const { path, seconds } of agent.events) if (path === '/slow') ok(Number(seconds) >= 0.4);
    },
    'finds the ID of the trace wherever it is in the headers': async ({ pair, agent }) => {
      agent.events.length = 0;
      const address = pair.addressB.ipv4;
      await using _ = await HttpProcess.start(pair.b.netns, 'serve', address, 8_096);
      const sent = TRACED.map(({ headers, cuts }, index) => ({ path: `/error/${index}x`, headers, cuts }));
      runHttp(pair.a.netns, 'send', address, 8_096, JSON.stringify(sent));
      const expected = TRACED.map(({ id }, index) => `/error/${index}x ${id}`);
      for (const pod of [pair.a.netns.name, pair.b.netns.name]) {
        await eventually(() => {
          const found = agent.events.filter((event) => event.pod === pod);
          deepEqual(
            found.map(({ path, traceId }) => `${path} ${traceId}`),
            expected,
          );
        });
      }
    },
    'measures the time to the first byte of the response': async ({ pair, agent }) => {
      const labels = { pod: pair.b.netns.name, role: 'server', status: 'ok' };
      const slowOnes = async () => {
        const page = await agent.page();
        const below = (le: string) => sampleValue(page, `${durations.name}_bucket`, { ...labels, le }) ?? 0;
        return below('1.048576') - below('0.262144');
      };
      const before = await slowOnes();
      await talk({ pair });
      equal((await slowOnes()) - before, 1);
    },
    'shows open requests, and counts those that get no response': async (context) => {
      const { pair, agent } = context;
      const { a, b, addressB } = pair;
      const before = await seen(context, a.netns, b.netns, statusesOf);
      const openOf = async () => {
        const page = await agent.page();
        return [
          sampleValue(page, open.name, { pod: a.netns.name, role: 'client' }),
          sampleValue(page, open.name, { pod: b.netns.name, role: 'server' }),
        ];
      };
      {
        await using _ = await HttpProcess.start(b.netns, 'serve', addressB.ipv4, 8_091);
        {
          await using _ = await HttpProcess.start(a.netns, 'hold', addressB.ipv4, 8_091, '/hang', 3);
          await eventually(async () => deepEqual(await openOf(), [3, 3]));
        }
        await eventually(async () => deepEqual(await openOf(), [0, 0]));
      }
      const after = await seen(context, a.netns, b.netns, statusesOf);
      deepEqual(minus(after.client, before.client), { none: 3 });
      deepEqual(minus(after.server, before.server), { none: 3 });
    },
    'reads no more connections than it may, and counts what it refuses': async (context) => {
      const { pair, agent } = context;
      const { a, b, addressB } = pair;
      const refusedOf = (page: Exposition, pod: string) => sumsOf(page, refused.name, { pod }, []);
      const limited = { enabled: true, slow: '200ms', connections: 1 };
      await using _ = await HttpProcess.start(b.netns, 'serve', addressB.ipv4, 8_096);
      // Another connection of the machine may be the only one that is read.
      await using _held = await HttpProcess.start(a.netns, 'hold', addressB.ipv4, 8_096, '/hang', 2);
      await agent.kernel.configure(probesOf(only({ http: limited }, { detail: 'full' })));
      try {
        const before = await seen(context, a.netns, b.netns);
        const refusedBefore = await seen(context, a.netns, b.netns, refusedOf);
        runHttp(a.netns, 'burst', addressB.ipv4, 8_096, 10);
        runHttp(a.netns, 'burst', addressB.ipv4, 8_096, 10);
        const counted = await seen(context, a.netns, b.netns);
        const refusedNow = await seen(context, a.netns, b.netns, refusedOf);
        const ofBoth = (now: typeof before, then: typeof before) =>
          total(minus(now.client, then.client)) + total(minus(now.server, then.server));
        // Of the two sockets of a connection, at most one is read.
        ok(ofBoth(counted, before) <= 20);
        ok(ofBoth(refusedNow, refusedBefore) > 0);
      } finally {
        // The next check switches the probe on again.
        await agent.kernel.configure(probesOf(only({})));
      }
    },
    'counts the further requests of connections that are older than the probe, and says what it can know of calls':
      async (context) => {
        const { pair, agent } = context;
        const { a, b, addressB } = pair;
        await using _ = await HttpProcess.start(b.netns, 'serve', addressB.ipv4, 8_094);
        await using calls = await OldCalls.serve(context);
        await agent.kernel.configure(probesOf(only({})));
        const client = await HttpProcess.start(a.netns, 'resume', addressB.ipv4, 8_094, 5);
        await calls.begin();
        await agent.kernel.configure(probesOf(only({ http: { enabled: true, slow: '200ms' } }, { detail: 'full' })));
        const lateOf = (page: Exposition, pod: string) => sumsOf(page, late.name, { pod }, []);
        const before = await seen(context, a.netns, b.netns);
        const lateBefore = await seen(context, a.netns, b.netns, lateOf);
        await client[Symbol.asyncDispose]();
        const after = await seen(context, a.netns, b.netns);
        const lateAfter = await seen(context, a.netns, b.netns, lateOf);
        for (const end of ['client', 'server'] as const) {
          deepEqual(minus(after[end], before[end]), { 'GET 200': 5 });
          deepEqual(minus(lateAfter[end], lateBefore[end]), { '': 1 });
        }
        await calls.expectCounted();
      },
    'counts requests for which there is no room as unknown': async (context) => {
      const { a, b, addressB } = context.pair;
      await using _ = await HttpProcess.start(b.netns, 'serve', addressB.ipv4, 8_095);
      const before = await seen(context, a.netns, b.netns, statusesOf);
      runHttp(a.netns, 'burst', addressB.ipv4, 8_095, 100);
      const whole = await seen(context, a.netns, b.netns, statusesOf);
      deepEqual(minus(whole.client, before.client), { '2xx': 100 });
      deepEqual(minus(whole.server, before.server), { '2xx': 100 });
      runHttp(a.netns, 'burst', addressB.ipv4, 8_095, 500);
      const after = await seen(context, a.netns, b.netns, statusesOf);
      for (const end of ['client', 'server'] as const) {
        const { '2xx': answered = 0, unknown: without = 0, ...others } = minus(after[end], whole[end]);
        deepEqual(others, {});
        equal(answered + without, 500, end);
        ok(answered >= 128 && without > 0, `${end}: ${answered} were counted with their status`);
      }
    },
    'counts nothing else as a request': async (context) => {
      const { a, b, addressB } = context.pair;
      const before = await seen(context, a.netns, b.netns, statusesOf);
      await using _ = await HttpProcess.start(b.netns, 'discard', addressB.ipv4, 8_092);
      for (const seed of [1, 2]) runHttp(a.netns, 'noise', addressB.ipv4, 8_092, 60, seed);
      const page = await context.agent.page();
      deepEqual(await seen(context, a.netns, b.netns, statusesOf), before);
      for (const pod of [a.netns.name, b.netns.name]) ok(total(sumsOf(page, givenUp.name, { pod }, ['role'])) > 0);
    },
    'counts a response without a request as unknown': async (context) => {
      const { a, b, addressB } = context.pair;
      const causesOf = (page: Exposition, pod: string, role: Role) =>
        sumsOf(page, unknown.name, { pod, role }, ['cause']);
      const before = await seen(context, a.netns, b.netns, causesOf);
      await using _ = await HttpProcess.start(b.netns, 'stray', addressB.ipv4, 8_093);
      runHttp(a.netns, 'pair', addressB.ipv4, 8_093);
      const after = await seen(context, a.netns, b.netns, causesOf);
      deepEqual(minus(after.client, before.client), { orphan: 1 });
      deepEqual(minus(after.server, before.server), { orphan: 1 });
    },
  },
});
