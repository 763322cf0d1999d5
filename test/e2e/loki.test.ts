import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificates } from '../support/certificates.ts';
import { makeEvents } from '../support/event_lines.ts';
import { EventWay } from '../support/event_way.ts';
import { type Fault, LokiServer } from '../support/loki_server.ts';
import { eventually } from '../support/oracle.ts';

/** Number of requests that the server accepts before it starts to fail. */
const WELL = 2;

let loki: LokiServer;

beforeEach(async () => {
  loki = await LokiServer.start();
});

afterEach(async () => {
  await loki[Symbol.asyncDispose]();
});

const sink = (more: object = {}) => ({
  loki: { url: loki.url, timeout: '60s', batch: { events: 100, age: '50ms' }, ...more },
});

const [whole] = makeEvents(1, {
  namespace: 'shop',
  pod: 'cart',
  src: '[fd00::1]:53',
  dst: '10.0.0.2:4711',
  protocol: 'udp',
  peer: { kind: 'pod', namespace: 'kube-system', name: 'dns-0', service: 'dns', ip: 'fd00::1' },
});
/** Hash of the protocol and addresses of `whole`. The lane adds it to the event. */
const CONNECTION_ID = '5N2RhF4r';

it('sends few labels, the rest as structured metadata, the line as JSON, the time to the nanosecond', async () => {
  await using way = await EventWay.open(
    sink({ tenant: 'team-a', labels: { cluster: 'c1' }, headers: { 'x-extra': '1' } }),
  );
  way.publish(whole === undefined ? [] : [whole]);
  way.publish(makeEvents(1, { namespace: null, pod: null, probe: 'tcpreset', type: 'tcp_reset' }, 7));
  await way.settled('loki');
  // Streams are sent in parallel, so they may arrive in any order.
  expect(loki.entries.toSorted((a, b) => Number(BigInt(a.time) - BigInt(b.time)))).toEqual([
    {
      labels: {
        cluster: 'c1',
        job: 'netsonde',
        node: 'n',
        probe: 'packetloss',
        type: 'packet_drop',
        namespace: 'shop',
      },
      time: '1767225600000000000',
      line: JSON.stringify({ ...whole, connectionId: CONNECTION_ID }),
      metadata: {
        connectionId: CONNECTION_ID,
        pod: 'cart',
        netns: '1',
        severity: 'warning',
        src: '[fd00::1]:53',
        dst: '10.0.0.2:4711',
        protocol: 'udp',
        peer_kind: 'pod',
        peer_namespace: 'kube-system',
        peer_name: 'dns-0',
        peer_service: 'dns',
        peer_ip: 'fd00::1',
      },
    },
    expect.objectContaining({
      labels: { cluster: 'c1', job: 'netsonde', node: 'n', probe: 'tcpreset', type: 'tcp_reset' },
      time: '1767225600000000007',
      metadata: { netns: '1', severity: 'warning' },
    }),
  ]);
  expect(loki.requests[0]?.headers).toMatchObject({
    'x-scope-orgid': 'team-a',
    'x-extra': '1',
    'content-encoding': 'gzip',
  });
  expect(loki.requests[0]?.headers).not.toHaveProperty('authorization');
});

it('sends without compression and structured metadata if so configured', async () => {
  await using way = await EventWay.open(sink({ compress: false, structuredMetadata: false }));
  way.publish(makeEvents(2));
  await way.settled('loki');
  expect(loki.requests[0]?.headers).not.toHaveProperty('content-encoding');
  expect(loki.entries.map(({ metadata }) => metadata)).toEqual([{}, {}]);
});

it('sorts events that arrive out of order by time, over one connection', async () => {
  await using way = await EventWay.open(sink());
  const events = makeEvents(90);
  way.publish([...events.slice(45), ...events.slice(0, 45)]);
  await way.settled('loki');
  way.publish(makeEvents(90, {}, 90));
  await way.settled('loki');
  expect(loki).toMatchObject({ unordered: 0, duplicates: 0, connections: 1 });
  expect(loki.entries).toHaveLength(180);
});

/** Publishes 20 events every 10 ms, for at least `ms` and until the server has started to fail. */
async function publishFor(way: EventWay, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  for (let first = 0; performance.now() < endMs || loki.asked <= WELL; first += 20) {
    way.publish(makeEvents(20, {}, first));
    await wait(10);
  }
}

describe('a server in trouble', () => {
  const times =
    (count: number, fault: Fault) =>
    (request: number): Fault | undefined =>
      request > WELL && request <= WELL + count ? fault : undefined;

  it.each<[string, (request: number) => Fault | undefined, RegExp, object?]>([
    ['that answers 500', times(2, { status: 500, text: 'ingester gone' }), /it returned 500: ingester gone/],
    ['that answers 503 with a page', times(1, { status: 503, text: '<html>\nno' }), /it returned 503: <html>/],
    ['that resets connections', times(2, { reset: 'before' }), /ECONNRESET|socket hang up/],
    ['that resets after it took the push', times(2, { reset: 'after' }), /ECONNRESET|socket hang up/],
    ['that never answers', times(1, { hang: true }), /did not respond within 500 ms/, { timeout: '500ms' }],
    ['that does not know the tenant', times(1, { status: 401, text: 'no org id' }), /it returned 401: no org id/],
    [
      'that redirects us',
      times(1, { status: 302, headers: { location: '/x' } }),
      /it returned 302; it redirects to \/x/,
    ],
  ])('%s loses nothing', async (_, fault, reason, more) => {
    await using way = await EventWay.open(sink(more));
    loki.fault = fault;
    await publishFor(way, 600);
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: ledger.published, lost: 0 });
    expect(loki.entries).toHaveLength(ledger.published);
    expect(loki.unordered).toBe(0);
    expect(way.logged.join('\n')).toMatch(reason);
    expect(way.logged.join('\n')).toMatch(/events reach loki again/);
    expect(way.status('loki')).toMatchObject({ state: 'running', reason: '' });
  });

  it('that closes a connection just when it is reused causes no failure', async () => {
    await using way = await EventWay.open(sink());
    loki.fault = times(1, { reset: 'after' });
    await publishFor(way, 300);
    const ledger = await way.settled('loki');
    expect(loki.entries).toHaveLength(ledger.published);
    expect(loki.connections).toBe(2);
    expect(way.logged).toEqual([]);
  });

  it('that asks for a pause gets no request before its end', async () => {
    await using way = await EventWay.open(sink());
    loki.fault = times(1, { status: 429, headers: { 'retry-after': '2' }, text: 'ingestion rate limit exceeded' });
    await publishFor(way, 300);
    await eventually(() =>
      expect(way.status('loki')).toMatchObject({
        state: 'failed',
        reason: expect.stringMatching(/^it returned 429: ingestion rate limit exceeded/),
      }),
    );
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: ledger.published, lost: 0 });
    const gaps = loki.requests.map(({ atMs }, index) => atMs - (loki.requests[index - 1]?.atMs ?? atMs));
    expect(Math.max(...gaps)).toBeGreaterThan(1_999);
  });

  it('that is slow gets larger batches, and loses nothing while there is room', async () => {
    await using way = await EventWay.open(sink({ timeout: '10s', batch: { events: 5_000, age: '50ms' } }));
    loki.fault = () => ({ delayMs: 400 });
    await publishFor(way, 1_500);
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: ledger.published, lost: 0 });
    expect(loki).toMatchObject({ unordered: 0, duplicates: 0 });
    expect(loki.requests.length).toBeLessThan(8);
  });

  it('that is down for five seconds: events without room are dropped, the oldest first, and counted', async () => {
    await using way = await EventWay.open(sink({ queue: 2_000 }));
    way.publish(makeEvents(100));
    await way.settled('loki');
    await loki.down();
    const bound = async () => {
      for (let round = 0; round < 50; round++) {
        way.publish(makeEvents(100, {}, 100 + round * 100));
        expect(way.status('loki')?.pending).toBeLessThanOrEqual(2_000);
        await wait(100);
      }
    };
    await bound();
    expect(way.status('loki')).toMatchObject({ state: 'failed', reason: expect.stringContaining('ECONNREFUSED') });
    await loki.up();
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ published: 5_100, delivered: 2_100, dropped: { queue_full: 3_000 }, lost: 3_000 });
    expect(loki.records.map(({ message }) => message).slice(100)).toEqual(
      makeEvents(2_000, {}, 3_100).map(({ message }) => message),
    );
    expect(loki.unordered).toBe(0);
  });

  it.each([1, 5])('that refuses %i entries takes all others; its message is kept', async (bad) => {
    await using way = await EventWay.open(sink());
    loki.refuse = ({ line }) => {
      const { message } = JSON.parse(line) as { message: string };
      return Number(/\d+/.exec(message)?.[0]) % 100 < bad ? 'entry has timestamp too old' : undefined;
    };
    way.publish(makeEvents(300));
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: 300 - 3 * bad, dropped: { rejected: 3 * bad } });
    expect(loki.entries).toHaveLength(300 - 3 * bad);
    expect(way.status('loki')).toMatchObject({
      state: 'running',
      rejected: { why: 'it returned 400: entry has timestamp too old' },
    });
  });

  it('that refuses everything gets fewer requests than entries', async () => {
    await using way = await EventWay.open(sink({ batch: { events: 5_000, age: '50ms' } }));
    loki.refuse = () => 'no';
    way.publish(makeEvents(3_000));
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: 0, dropped: { rejected: 3_000 } });
    // After a hundred individual refusals, the remaining events are refused as a group. Splitting the batches takes
    // about another hundred requests.
    expect(loki.requests.length).toBeLessThan(230);
  });
});

describe('a sink that is set up wrongly', () => {
  it('fails with the reason, keeps new events, and sends them once it is corrected; others go on', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
    const missing = join(folder.path, 'token');
    const wrong: [object, RegExp][] = [
      [{ url: 'http://127.0.0.1:1' }, /127\.0\.0\.1:1: .*ECONNREFUSED/],
      [{ url: 'http://nobody.invalid' }, /nobody\.invalid: .*(ENOTFOUND|EAI_AGAIN)/],
      [{ url: `${loki.url}/nowhere/push` }, /it returned 404/],
      [{ bearerTokenFile: missing }, /ENOENT.*token/],
    ];
    await using way = await EventWay.open(sink(wrong[0]?.[0]));
    let published = 0;
    for (const [more, reason] of wrong) {
      await way.apply(sink(more));
      way.publish(makeEvents(10, {}, published));
      published += 10;
      await eventually(() => expect(way.status('loki')?.reason).toMatch(reason));
      expect(way.status('loki')).toMatchObject({ state: 'failed', pending: published });
    }
    writeFileSync(missing, 'secret-token\n');
    await way.settled('loki');
    expect(loki.entries).toHaveLength(published);
    expect(loki.requests.at(-1)?.headers.authorization).toBe('Bearer secret-token');
    writeFileSync(missing, 'another-token');
    way.publish(makeEvents(1, {}, published));
    await way.settled('loki');
    expect(loki.requests.at(-1)?.headers.authorization).toBe('Bearer another-token');
    expect(JSON.stringify([way.logged, way.sinks.statuses()])).not.toMatch(/secret-token|another-token/);
  });

  it('with a password in a file sends it, and never shows it', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
    const passwordFile = join(folder.path, 'password');
    writeFileSync(passwordFile, 'hunter2\n');
    await using way = await EventWay.open(sink({ basicAuth: { username: 'u', passwordFile } }));
    way.publish(makeEvents(1));
    await way.settled('loki');
    expect(loki.requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from('u:hunter2').toString('base64')}`);
    expect(JSON.stringify([way.logged, way.sinks.statuses()])).not.toContain('hunter2');
  });
});

describe('TLS', () => {
  it('checks the server, presents our certificate if the server asks for one, and reports errors', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
    const at = (name: string) => join(folder.path, name);
    makeCertificates(folder.path);
    await using server = await LokiServer.start({
      key: readFileSync(at('server.key')),
      cert: readFileSync(at('server.crt')),
      ca: readFileSync(at('ca.crt')),
      requestCert: true,
      rejectUnauthorized: true,
    });
    const secure = (tls?: object) => ({
      loki: { ...sink().loki, url: server.url, ...(tls === undefined ? {} : { tls }) },
    });
    await using way = await EventWay.open(secure());
    way.publish(makeEvents(5));
    const failsWith = (reason: RegExp) =>
      eventually(() =>
        expect(way.status('loki')).toMatchObject({ state: 'failed', reason: expect.stringMatching(reason) }),
      );
    await failsWith(/unable to verify|self-signed|UNABLE_TO/i);
    await way.apply(secure({ ca: at('ca.crt') }));
    await failsWith(/certificate required|alert|ECONNRESET|socket hang up|EPIPE/i);
    await way.apply(secure({ ca: at('missing.crt') }));
    await failsWith(/ENOENT.*missing\.crt/);
    const pair = { cert: at('client.crt'), key: at('client.key') };
    await way.apply(secure({ ca: at('ca.crt'), ...pair, serverName: 'other.example' }));
    await failsWith(/other\.example/);
    await way.apply(secure({ ca: at('ca.crt'), ...pair }));
    expect(await way.settled('loki')).toMatchObject({ delivered: 5, lost: 0 });
    await way.apply(secure({ insecureSkipVerify: true, ...pair }));
    way.publish(makeEvents(1, {}, 5));
    expect(await way.settled('loki')).toMatchObject({ delivered: 6, lost: 0 });
    expect(server.entries).toHaveLength(6);
  });
});
