import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { playSceneSync } from '../support/scene.ts';

const PORT = 7_670;
/** Number of connections whose records exceed an owner's share of the ring. */
const CONNECTIONS = 1_500;
const REFUSED = 5;

/** Opens many connections, followed by a few that are refused. */
const STORM = `
server = listen(B, ${PORT}, 64)
for _ in range(${CONNECTIONS}):
    client = sock(A)
    client.connect((ADDRESS[B], ${PORT}))
    peer, _ = server.accept()
    client.close(); peer.close()
server.close()
for _ in range(${REFUSED}):
    client = sock(A)
    client.connect_ex((ADDRESS[B], ${PORT}))
    client.close()
`;

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(
    only({ tcpconnect: { enabled: true }, flow: { enabled: true, records: { sample: '100%', perPod: '10000/s' } } }),
  );
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

const entryOf = (kind: string) => agent.kernel.ledger().find((entry) => entry.kind === kind);
const failed = () =>
  agent.events.filter(({ type, netns }) => type === 'connection_failed' && netns === String(pair.a.netns.id));

it('a storm of records takes no room from events', async () => {
  // The agent runs in this thread, so nothing reads the ring meanwhile.
  playSceneSync(pair, 'ipv4', STORM);
  await eventually(() => expect(failed().reduce((sum, { count = 1 }) => sum + count, 0)).toBe(REFUSED));
  expect(entryOf('flow')?.limited).toBeGreaterThan(CONNECTIONS);
});
