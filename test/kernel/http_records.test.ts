import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { REQUEST_RECORD, type RequestRecord } from '#api/requests.ts';
import { HostPair, type TestNetns } from '../support/hosts.ts';
import { type Answers, HttpProcess, loadHttp, runHttp, WebServer } from '../support/http_traffic.ts';
import { curlUpgrading, UpgradingProxy } from '../support/http_upgrade.ts';
import { runHttp2, startHttp2 } from '../support/http2_traffic.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { lacksApplications, lacksProgram } from '../support/lan/programs.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';

const PORT = 8_180;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const ENDS = ['client', 'server'] as const;

let pair: HostPair;
let agent: TestKernel;
/** Records before the test. */
let earlier = 0;

const http = (records: object, more: object = {}) =>
  only({ http: { enabled: true, limit: 10_000, records: { perPod: '10000/s', ...records }, ...more } });

const configure = (records: object, more: object = {}) => agent.kernel.configure(probesOf(http(records, more)));
const entry = () => agent.kernel.ledger().find(({ kind }) => kind === 'request');

function all(): RequestRecord[] {
  return agent.records.flatMap((batch) => (batch.kind === 'request' ? batch.values : []));
}

/** Returns the records of an end that came in this test. */
function recordsOf(role: (typeof ENDS)[number]): RequestRecord[] {
  const pod = (role === 'client' ? pair.a : pair.b).netns.name;
  const of = all()
    .slice(earlier)
    .filter((record) => record.role === role && record.pod === pod);
  return of.map((record) => REQUEST_RECORD.parse(record));
}

function answersOf(records: readonly RequestRecord[]): Answers {
  const groups = Object.groupBy(records, ({ method, status }) => `${method} ${status}`);
  return Object.fromEntries(Object.entries(groups).map(([key, same]) => [key, same?.length ?? 0]));
}

/** Drops every other segment with data that arrives at a port, beginning with the first, until disposed. */
function loseFirst(netns: TestNetns, port: number): Disposable {
  netns.exec('nft add table inet lost');
  netns.exec('nft add chain inet lost packets { type filter hook prerouting priority -300 ; }');
  netns.exec(`nft add rule inet lost packets tcp dport ${port} tcp flags & psh == psh numgen inc mod 2 == 0 drop`);
  return { [Symbol.dispose]: () => void netns.exec('nft delete table inet lost') };
}

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(http({ sample: '100%' }));
});

beforeEach(() => {
  earlier = all().length;
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

/** Bytes of the ring are enough for this many records of a Pod. The load blocks the thread that reads it. */
const COUNT = 96;

/** Sends requests of HTTP/1.1 to nginx. Returns what nginx has logged. */
async function load1(): Promise<Answers> {
  await using server = await WebServer.start(pair.b.netns, PORT, PORT + 1);
  const answers = loadHttp(pair.a.netns, pair.addressB.ipv4, PORT, { count: COUNT, depth: 1, connections: 8 });
  await eventually(() => expect(server.log()).toEqual(answers));
  return answers;
}

/** Sends requests of HTTP/2 to nginx on one connection. Returns what nginx has logged. */
async function load2(): Promise<Answers> {
  await using server = await WebServer.start(pair.b.netns, PORT, PORT + 1, PORT + 6);
  const answers = runHttp2(pair.a.netns, 'load', `${pair.addressB.ipv4}:${PORT + 6}`, COUNT, 8, 1);
  await eventually(() => expect(server.log()).toEqual(answers));
  return answers;
}

/** IDs that http2_peer.ts sends. */
const idsOf = (count: number) => Array.from({ length: count }, (_, index) => String(index)).sort();

/** Waits until both ends have these records, and no others. */
async function expectAnswers(answers: Answers): Promise<void> {
  await eventually(() => {
    for (const role of ENDS) expect(answersOf(recordsOf(role)), role).toEqual(answers);
  });
}

/** Waits until both ends have the same records for a port of the server, which are some of all requests. */
async function expectDrawn(port: number, keyOf: (record: RequestRecord) => unknown): Promise<void> {
  const drawn = (role: (typeof ENDS)[number]) =>
    recordsOf(role)
      .filter(({ dstPort }) => dstPort === port)
      .map(keyOf)
      .sort();
  await eventually(() => {
    expect(drawn('client')).toEqual(drawn('server'));
    expect(drawn('server').length).toBeGreaterThan(0);
    expect(drawn('server').length).toBeLessThan(COUNT / 2);
  });
}

describe('if all requests are wanted', () => {
  beforeAll(() => configure({ sample: '100%' }));

  describe.skipIf(lacksApplications())('against the log of nginx', () => {
    it('has every request at both ends', async () => expectAnswers(await load1()));

    it('has every request of HTTP/2 with its path and the ID of its trace, at both ends', async () => {
      await expectAnswers(await load2());
      for (const role of ENDS) {
        const records = recordsOf(role);
        expect(records.map(({ traceId }) => traceId).sort()).toEqual(idsOf(COUNT));
        for (const { path, failed, status, grpcCode, cause } of records) {
          expect([failed, grpcCode, cause]).toEqual([status === 500, null, null]);
          expect([path, status === 500]).toEqual([path, path === '/error']);
        }
      }
      for (const { networkSeconds, seconds } of recordsOf('client')) {
        expect(networkSeconds).toBeGreaterThanOrEqual(0);
        expect(networkSeconds).toBeLessThanOrEqual(seconds);
      }
    });
  });

  it.skipIf(lacksApplications() || lacksProgram('nghttpx'))('has those by which HTTP/1.1 was upgraded', async () => {
    const { a, b, addressB } = pair;
    await using server = await WebServer.start(b.netns, PORT, PORT + 1);
    await using proxy = await UpgradingProxy.start(b.netns, PORT + 8, PORT);
    /** Returns how many requests of HTTP/2 have ended at both ends. None may be open. */
    const ended = async () => {
      const page = await agent.page();
      return ENDS.map((role) => {
        const labels = { pod: (role === 'client' ? a : b).netns.name, role };
        expect(sumsOf(page, 'netsonde_http_open_requests', labels, [])['']).toBeUndefined();
        return sumsOf(page, 'netsonde_http_requests_total', { ...labels, version: '2' }, [])[''] ?? 0;
      });
    };
    const before = await ended();
    const trace = ['-H', `traceparent: 00-${TRACE}-00f067aa0ba902b7-01`];
    const get = (path: string) => ['-o', '/dev/null', `http://${addressB.ipv4}:${PORT + 8}${path}`];
    const versions = [
      ...curlUpgrading(a.netns, ...trace, ...get('/error'), ...get('/small'), ...get('/missing')),
      ...curlUpgrading(a.netns, ...trace, '-d', 'body', ...get('/answer')),
      ...curlUpgrading(a.netns, ...trace, '-I', ...get('/small')),
    ];
    expect(versions).toEqual(Array.from({ length: 5 }, () => '2'));
    await eventually(() => expect(server.log()).toEqual(proxy.log()));
    const upgraded = (role: (typeof ENDS)[number]) => recordsOf(role).filter(({ dstPort }) => dstPort === PORT + 8);
    await eventually(() => {
      for (const role of ENDS) expect(answersOf(upgraded(role)), role).toEqual(proxy.log());
    });
    for (const role of ENDS) {
      const found = upgraded(role).map(({ path, traceId }) => `${path} ${traceId}`);
      const paths = ['/answer', '/error', '/missing', '/small', '/small'];
      expect(found.sort()).toEqual(paths.map((path) => `${path} ${TRACE}`));
    }
    // Each is counted once, and as HTTP/2.
    expect(await ended()).toEqual(before.map((count) => count + 5));
  });

  it('has calls of gRPC with their method and code', async () => {
    const address = `${pair.addressB.ipv4}:${PORT + 7}`;
    await using _ = await startHttp2(pair.b.netns, 'serve', address);
    const answers = runHttp2(pair.a.netns, 'call', address, 90, 4);
    const codes: Readonly<Record<string, number>> = {
      OK: 0,
      NOT_FOUND: 5,
      PERMISSION_DENIED: 7,
      INTERNAL: 13,
      UNAVAILABLE: 14,
    };
    const called = (role: (typeof ENDS)[number]) =>
      Object.groupBy(recordsOf(role), ({ path, grpcCode }) => `${path} ${codes[grpcCode ?? '']}`);
    await eventually(() => {
      for (const role of ENDS) {
        const counts = Object.entries(called(role)).map(([key, records]) => [key, records?.length]);
        expect(Object.fromEntries(counts), role).toEqual(answers);
      }
    });
    for (const role of ENDS) {
      expect(
        recordsOf(role)
          .map(({ traceId }) => traceId)
          .sort(),
      ).toEqual(idsOf(90));
      for (const { grpcCode, failed, method, status } of recordsOf(role)) {
        expect([method, status]).toEqual(['POST', 200]);
        expect(failed).toBe(grpcCode === 'INTERNAL' || grpcCode === 'UNAVAILABLE');
      }
    }
    // A new row is at 0 and has no exemplars until every scraper could see that.
    await eventually(async () => {
      const lines = (await agent.text('openmetrics')).split('\n').filter((line) => line.includes('# {trace_id='));
      for (const netns of [pair.a.netns, pair.b.netns]) {
        for (const name of ['netsonde_http_duration_seconds', 'netsonde_grpc_duration_seconds'])
          expect(lines.some((line) => line.startsWith(name) && line.includes(`pod="${netns.name}"`))).toBe(true);
      }
    });
  });
});

describe('if failed requests are wanted', () => {
  beforeAll(() => configure({ failed: true }));

  describe.skipIf(lacksApplications())('against the log of nginx', () => {
    const failedOf = (answers: Answers) =>
      Object.fromEntries(Object.entries(answers).filter(([key]) => key.endsWith(' 500')));

    it('has each failed request at both ends, and no other', async () => {
      await expectAnswers(failedOf(await load1()));
      expect(recordsOf('server').length).toBeGreaterThan(0);
      expect(new Set(recordsOf('server').map(({ path }) => path))).toEqual(new Set(['/error']));
    });

    it('has each failed request of HTTP/2 at both ends, and no other', async () =>
      expectAnswers(failedOf(await load2())));
  });

  it('has calls of gRPC without an answer, with the cause', async () => {
    const address = `${pair.addressB.ipv4}:${PORT + 7}`;
    await using _ = await startHttp2(pair.b.netns, 'serve', address);
    runHttp2(pair.a.netns, 'abandon', address);
    const ended = (role: (typeof ENDS)[number]) =>
      recordsOf(role)
        .map(({ path, grpcCode, cause }) => `${path} ${grpcCode} ${cause}`)
        .sort();
    await eventually(() => {
      for (const role of ENDS)
        expect(ended(role)).toEqual(['/test.Cart/Hang none closed', '/test.Cart/Hang reset client_reset']);
    });
  });
});

describe.skipIf(lacksApplications())('if a part of the requests is wanted', () => {
  beforeAll(() => configure({ sample: '20%' }));

  it('draws the same ones at both ends', async () => {
    await load1();
    await expectDrawn(PORT, ({ srcPort, method, path, status }) => `${srcPort} ${method} ${path} ${status}`);
  });

  it('draws the same ones of HTTP/2 at both ends', async () => {
    await load2();
    await expectDrawn(PORT + 6, ({ traceId }) => traceId);
  });
});

it('has slow requests with the time on the network, the ID of the trace and the client', async () => {
  await configure({ slow: '200ms' }, { paths: 'off' });
  earlier = all().length;
  const address = pair.addressB.ipv4;
  await using _ = await HttpProcess.start(pair.b.netns, 'serve', address, PORT + 2);
  const headers = [`traceparent: 00-${TRACE}-00f067aa0ba902b7-01`];
  {
    // The first segment with the request is lost, so the client sends it again after at least 200 ms.
    using _lost = loseFirst(pair.b.netns, PORT + 2);
    runHttp(pair.a.netns, 'send', address, PORT + 2, JSON.stringify([{ path: '/slow', headers }]));
  }
  await eventually(() => expect(ENDS.map((role) => recordsOf(role).length)).toEqual([1, 1]));
  const [client, server] = [recordsOf('client')[0], recordsOf('server')[0]];
  expect(client).toMatchObject({
    src: pair.addressA.ipv4,
    dst: address,
    dstPort: PORT + 2,
    method: 'GET',
    path: null,
    status: 200,
    failed: false,
    traceId: TRACE,
  });
  expect(server?.networkSeconds).toBe(null);
  expect(client?.networkSeconds).toBeGreaterThanOrEqual(0.19);
  expect(client?.networkSeconds).toBeCloseTo((client?.seconds ?? 0) - (server?.seconds ?? 0), 6);
});

it('counts what it does not send, and the ledger balances over runs of the probe', async () => {
  await configure({ failed: true, sample: '100%', perPod: '5/s' }, { limit: 20 });
  earlier = all().length;
  const before = entry();
  const address = pair.addressB.ipv4;
  {
    await using _ = await HttpProcess.start(pair.b.netns, 'serve', address, PORT + 3);
    const requests = Array.from({ length: 100 }, () => ({ path: '/error', headers: [] }));
    runHttp(pair.a.netns, 'send', address, PORT + 3, JSON.stringify(requests));
  }
  // Switching the probe off reads what is left in the ring.
  await agent.kernel.configure(probesOf(only({})));
  const grown = (key: 'produced' | 'limited' | 'limitedLater' | 'lost') => (entry()?.[key] ?? 0) - (before?.[key] ?? 0);
  await eventually(() => {
    const sent = all().length - earlier;
    expect(grown('produced')).toBe(grown('limited') + grown('limitedLater') + grown('lost') + sent);
    expect(sent).toBeGreaterThan(0);
  });
  // Other namespaces of the machine may have requests as well.
  expect(grown('produced')).toBeGreaterThanOrEqual(200);
  expect(grown('limited')).toBeGreaterThan(0);
  expect(grown('limitedLater')).toBeGreaterThan(0);
});

it('costs nothing and sends nothing if it is not asked for', async () => {
  await configure({});
  earlier = all().length;
  const before = entry();
  const address = pair.addressB.ipv4;
  await using _ = await HttpProcess.start(pair.b.netns, 'serve', address, PORT + 4);
  agent.events.length = 0;
  runHttp(pair.a.netns, 'send', address, PORT + 4, JSON.stringify([{ path: '/error', headers: [] }]));
  await eventually(() => expect(agent.events.filter(({ dst }) => dst === `${address}:${PORT + 4}`)).toHaveLength(2));
  expect(all().length).toBe(earlier);
  expect(entry()).toEqual(before);
});
