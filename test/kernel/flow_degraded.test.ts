import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { playScene } from '../support/scene.ts';

const PORT = 7_660;
const BYTES = 400_000;

/** The server reads about 1 MB per second in small parts, so the window is closed for most of the time. */
const SLOW_READER = `
import threading
server = listen(B, PORT)
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
client = sock(A); client.connect((ADDRESS[B], PORT)); peer, _ = server.accept()
sender = threading.Thread(target=client.sendall, args=(bytes(${BYTES}),))
sender.start()
left = ${BYTES}
while left > 0: left -= len(peer.recv(min(left, 4000))); time.sleep(0.004)
sender.join()
client.close(); time.sleep(0.1); peer.close(); server.close()
`;

/** Every eighth segment of the client is lost. */
const LOSSY = `
server = listen(B, PORT)
client = sock(A); client.connect((ADDRESS[B], PORT)); peer, _ = server.accept()
drop(B, 'tcp dport %d tcp flags psh numgen inc mod 8 == 0 drop' % PORT)
for _ in range(120):
    client.sendall(b'x'); peer.recv(1)
undrop(B)
client.close(); time.sleep(0.1); peer.close(); server.close()
`;

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(only({ flow: true }));
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

/** Returns the events of the connections to a port. */
function eventsOf(port: number) {
  return agent.events.filter(({ type, dst }) => type === 'connection_degraded' && dst?.endsWith(`:${port}`));
}

async function play(port: number, program: string): Promise<void> {
  await playScene(pair, 'ipv4', program.replaceAll('PORT', String(port)));
}

it('many retransmissions cause an event at the end that sent them; a slow reader does so only with a threshold', async () => {
  // A second run begins as the first one did.
  agent.events.length = 0;
  await agent.kernel.configure(probesOf(only({ flow: true })));
  await play(PORT, SLOW_READER);
  // Events are in order, so the slow reader would be first.
  await play(PORT + 1, LOSSY);
  await eventually(() => expect(eventsOf(PORT + 1).map((event) => event.pod)).toEqual([pair.a.netns.name]));
  expect(eventsOf(PORT)).toEqual([]);
  await agent.kernel.configure(probesOf(only({ flow: { enabled: true, threshold: { receiverLimited: '20%' } } })));
  await play(PORT + 2, SLOW_READER);
  const [event] = await eventually(() => {
    expect(eventsOf(PORT + 2)).toHaveLength(1);
    return eventsOf(PORT + 2);
  });
  expect(event).toMatchObject({ pod: pair.a.netns.name, role: 'client', sentBytes: BYTES });
  expect(Number(event && 'receiverLimited' in event && event['receiverLimited'])).toBeGreaterThan(0.2);
});
