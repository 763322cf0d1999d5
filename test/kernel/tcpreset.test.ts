import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { BY_TIMER, eventually } from '../support/oracle.ts';
import { RESET_CASES, ResetCounter } from '../support/reset_cases.ts';
import { endpoint, eventsOf, FAMILIES, growth, playScene } from '../support/scene.ts';

const RESETS = 'netsonde_tcp_resets_total';

let pair: HostPair;
let agent: TestKernel;
/** A probe that derives the reason from the socket, as on kernels without reset reasons. */
let deriving: ResetCounter;

beforeAll(async () => {
  pair = await HostPair.create();
  deriving = await ResetCounter.open(['tcp_reset_sent']);
  agent = await TestKernel.open(only({ tcpreset: true }, { detail: 'full' }));
});

afterAll(async () => {
  deriving?.[Symbol.dispose]();
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

describe.each(FAMILIES)('over %s', (family) => {
  for (const [index, one] of RESET_CASES.entries()) {
    it(one.name, one.byTimer === true ? BY_TIMER : {}, async () => {
      const port = 7_100 + index;
      agent.events.length = 0;
      const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
      const { grown, result } = await growth(agent, pods, RESETS, 'reason', async () => {
        const { derived, result: played } = await deriving.during(pair, () =>
          playScene(pair, family, `PORT = ${port}\n${one.program}`),
        );
        // `derived` lacks the resets that netfilter sends, because they do not pass through the TCP stack.
        expect(derived).toEqual(one.derived);
        return played;
      });
      expect(grown).toEqual(one.counts);
      const total = Object.values(one.counts).reduce((sum, count) => sum + count, 0);
      const events = await eventually(() => {
        expect(eventsOf(agent, port)).toHaveLength(total);
        return eventsOf(agent, port);
      });
      const isInfo = (key: string) => key.endsWith(' orderly');
      const infos = Object.entries(one.counts).reduce((sum, [key, count]) => sum + (isInfo(key) ? count : 0), 0);
      expect(events.filter(({ severity }) => severity === 'info')).toHaveLength(infos);
      for (const { severity, ...event } of events) {
        expect(severity).toBe(event['outcome'] === 'orderly' ? 'info' : 'warning');
      }
      const [b, addressA, addressB] = [
        endpoint(pair.addressB[family], port),
        pair.addressA[family],
        pair.addressB[family],
      ];
      expect(addressA).not.toBe(addressB);
      if (one.sender !== undefined) {
        const sent = events.find(({ pod, direction }) => direction === 'sent' && pod === pods[one.sender ?? 'a']);
        expect(sent).toMatchObject({
          probe: 'tcpreset',
          type: 'tcp_reset',
          protocol: 'tcp',
          namespace: '',
        });
        expect(sent?.netns).toBe(String(pair[one.sender].netns.cookie));
        expect(one.sender === 'b' ? sent?.src : sent?.dst).toBe(b);
        expect(one.sender === 'b' ? sent?.dst : sent?.src).toContain(addressA);
        expect(one.sender === 'b' ? sent?.dst : sent?.src).not.toMatch(/:0$/);
        expect(sent?.['state']).toBe(one.state);
        expect(sent?.['pid']).toBe(one.byProcess === true ? result.pid : undefined);
        expect(sent?.['process']).toBe(one.byProcess === true ? 'python3' : undefined);
      }
      const received = events.find(({ direction }) => direction === 'received');
      expect(received?.['state']).toBe(one.receivedIn);
      if (received !== undefined) {
        // If a packet arrives while the process has the socket locked, the kernel handles it in the process, so the
        // event may name the process.
        expect([undefined, result.pid]).toContain(received['pid']);
        const sender = received.pod === pods.a ? received.src : received.dst;
        expect(sender).toBe(b);
      }
    });
  }
});

it.each(FAMILIES)('emits no warning if ten TLS clients close first, over %s', async (family) => {
  agent.events.length = 0;
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const { grown, result } = await growth(agent, pods, RESETS, 'reason', () =>
    playScene(
      pair,
      family,
      `
import tempfile
def node(ns, program):
    return subprocess.Popen(['ip', 'netns', 'exec', ns, '${process.execPath}', '-e', program], stdout=subprocess.PIPE, text=True)
with tempfile.TemporaryDirectory() as folder:
    key, cert = folder + '/key', folder + '/cert'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', cert, '-subj', '/CN=test'], check=True, stderr=subprocess.DEVNULL)
    server = node(B, '''
const { readFileSync } = require('fs');
require('https').createServer({ key: readFileSync('%s'), cert: readFileSync('%s') }, (_, answer) => answer.end('x'.repeat(2000)))
  .listen(7198, '%s', () => console.log('up'))''' % (key, cert, ADDRESS[B]))
    server.stdout.readline()
    client = node(A, '''
const https = require('https');
let bytes = 0, left = 10;
for (let i = 0; i < 10; i++) {
  const agent = new https.Agent({ keepAlive: true });
  https.get({ host: '%s', port: 7198, agent, rejectUnauthorized: false }, (answer) => {
    answer.on('data', (chunk) => (bytes += chunk.length));
    answer.on('end', () => { agent.destroy(); if (--left === 0) console.log(bytes) });
  });
}''' % ADDRESS[B])
    print(client.communicate()[0].strip())
    time.sleep(0.1); server.kill(); server.wait()
`,
    ),
  );
  expect(result.printed).toEqual([20_000]);
  expect(Object.keys(grown).filter((key) => !key.endsWith(' orderly'))).toEqual([]);
  const total = Object.values(grown).reduce((sum, count) => sum + count, 0);
  // At least the reset in response to a late close_notify is counted.
  expect(total).toBeGreaterThan(0);
  const events = await eventually(() => {
    const found = eventsOf(agent, 7_198);
    expect(found).toHaveLength(total);
    return found;
  });
  expect(new Set(events.map(({ severity }) => severity))).toEqual(new Set(['info']));
});

it('counts a connection that an administrator kills, with the process that does it', async () => {
  agent.events.length = 0;
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const { grown } = await growth(agent, pods, RESETS, 'reason', () =>
    playScene(
      pair,
      'ipv4',
      `
server, client, peer = connected(7199)
subprocess.run(['ip', 'netns', 'exec', A, 'ss', '-K', 'dport', '=', '7199'], stdout=subprocess.DEVNULL, check=True)
time.sleep(0.05)
`,
    ),
  );
  expect(grown).toEqual({ 'a sent TCP_STATE': 1, 'b received by_peer orderly': 1 });
  const sent = await eventually(() => {
    const found = eventsOf(agent, 7199).find(({ direction }) => direction === 'sent');
    expect(found).toBeDefined();
    return found;
  });
  expect(sent?.message).toContain('killed by another process');
  expect(sent).toMatchObject({
    severity: 'warning',
    pod: pods.a,
    process: 'ss',
    dst: endpoint(pair.addressB.ipv4, 7199),
  });
});
