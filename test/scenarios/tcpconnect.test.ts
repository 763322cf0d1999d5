import { deepEqual, equal, ok } from 'node:assert/strict';
import { tcpconnect } from '#probes/tcpconnect.ts';
import { NO_FETCHING_ATOMICS } from '../guest/unsupported.ts';
import type { Exposition } from '../support/exposition.ts';
import { eventually } from '../support/oracle.ts';
import { defineScenario, type ScenarioContext } from '../support/scenario.ts';
import { FAMILIES, playScene } from '../support/scene.ts';

const FAILURES = 'netsonde_tcp_connect_failures_total';
const TIMES = 'netsonde_tcp_connect_seconds';
const PORT = 7_400;

/** Returns the samples of a namespace, by one label. */
function byLabel(page: Exposition, name: string, label: string, pod: string): Record<string, number> {
  const found = page.samples.filter((sample) => sample.name === name && sample.labels['pod'] === pod);
  return Object.fromEntries(found.map(({ labels, value }) => [labels[label] ?? '', Number(value)]));
}

const REFUSED = `
for port in range(PORT + 1, PORT + 4):
    client = sock(A)
    try: client.connect((ADDRESS[B], port))
    except ConnectionRefusedError: pass
    client.close()
`;

const GIVEN_UP = `
drop(B, 'tcp dport %d drop' % PORT)
client = sock(A)
client.setblocking(False)
try: client.connect((ADDRESS[B], PORT))
except BlockingIOError: pass
time.sleep(0.1)
client.close()
undrop(B)
`;

/** Connects to a port that does not respond. The kernel gives up after it has retransmitted the SYN once. */
const TIMEOUT = `
drop(B, 'tcp dport %d drop' % PORT)
client = sock(A)
client.setsockopt(socket.IPPROTO_TCP, 7, 1)
try: client.connect((ADDRESS[B], PORT))
except TimeoutError: pass
client.close()
undrop(B)
`;

const SLOW = `
server = listen(B, PORT)
drop(B, 'tcp dport %d drop' % PORT)
client = sock(A)
client.setblocking(False)
try: client.connect((ADDRESS[B], PORT))
except BlockingIOError: pass
time.sleep(0.3)
undrop(B)
select.select([], [client], [], 10)
peer, _ = server.accept()
client.close(); peer.close(); server.close()
`;

const CONNECT = `
for _ in range(5):
    server, client, peer = connected(PORT)
    client.close(); peer.close(); server.close()
`;

/** Cuts off the other end so that data is retransmitted until the kernel gives up. */
const TIMED_OUT = `
server, client, peer = connected(PORT)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
drop(B, 'tcp dport %d drop' % PORT)
client.send(b'x')
time.sleep(3)
client.close(); peer.close(); server.close()
undrop(B)
`;

async function play({ pair }: ScenarioContext, program: string, family: (typeof FAMILIES)[number] = 'ipv4') {
  await playScene(pair, family, `PORT = ${PORT}\n${program}`);
}

/** Returns the events of the two namespaces. Other tests on this machine cause events as well. */
function eventsOf({ agent, pair }: ScenarioContext, type?: string) {
  const pods = [pair.a.netns.name, pair.b.netns.name];
  return agent.events.filter((event) => pods.includes(event.pod ?? '') && (type === undefined || event.type === type));
}

async function failuresOf({ agent, pair }: ScenarioContext): Promise<Record<string, number>> {
  return byLabel(await agent.page(), FAILURES, 'cause', pair.a.netns.name);
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

async function expectFailures(context: ScenarioContext, cause: string, count: number, program: string) {
  for (const family of FAMILIES) {
    context.agent.events.length = 0;
    const before = await failuresOf(context);
    await play(context, program, family);
    await eventually(async () => {
      const after = await failuresOf(context);
      equal((after[cause] ?? 0) - (before[cause] ?? 0), count);
      equal(sum(after) - sum(before), count);
    });
    await eventually(async () => {
      const events = eventsOf(context, 'connection_failed');
      deepEqual(
        events.map((event) => event['cause']),
        new Array<string>(count).fill(cause),
      );
    });
  }
}

export default defineScenario(tcpconnect, {
  runsWith: ({ fetchingAtomics }) => fetchingAtomics,
  reason: NO_FETCHING_ATOMICS,
  cause: async (context) => {
    await play(context, REFUSED);
    await playScene(
      {
        ...context.pair,
        a: context.pair.b,
        b: context.pair.a,
        addressA: context.pair.addressB,
        addressB: context.pair.addressA,
      },
      'ipv4',
      `PORT = ${PORT}\n${REFUSED}`,
    );
  },
  checks: {
    'counts refused connections, with an event for each': (context) => expectFailures(context, 'refused', 3, REFUSED),
    'counts connections that the application gave up': (context) => expectFailures(context, 'given_up', 1, GIVEN_UP),
    'counts connections without a response': (context) => expectFailures(context, 'timeout', 1, TIMEOUT),
    'measures handshakes on both sides, and sends no event for them': async (context) => {
      const { agent, pair } = context;
      const counts = async () => {
        const page = await agent.page();
        return [
          byLabel(page, `${TIMES}_count`, 'role', pair.a.netns.name)['client'] ?? 0,
          byLabel(page, `${TIMES}_count`, 'role', pair.b.netns.name)['server'] ?? 0,
        ];
      };
      const before = await counts();
      agent.events.length = 0;
      await play(context, CONNECT);
      await eventually(async () =>
        deepEqual(
          await counts(),
          before.map((count) => count + 5),
        ),
      );
      deepEqual(eventsOf(context), []);
    },
    'measures from the first SYN where that was lost': async (context) => {
      const { agent, pair } = context;
      const sumOf = async () => byLabel(await agent.page(), `${TIMES}_sum`, 'role', pair.a.netns.name)['client'] ?? 0;
      const before = await sumOf();
      await play(context, SLOW);
      await eventually(async () => {
        const took = (await sumOf()) - before;
        ok(took > 0.9 && took < 10, `the handshake took ${took} s`);
      });
    },
    'sends an event for a connection that times out': async (context) => {
      context.agent.events.length = 0;
      await play(context, TIMED_OUT);
      await eventually(async () => {
        const events = eventsOf(context, 'connection_timed_out');
        deepEqual(
          events.map((event) => [event['role'], event['sentBytes']]),
          [['client', 1]],
        );
      });
    },
  },
});
