import { afterAll, beforeAll, expect, it } from 'vitest';
import { FLOW_RECORD, type FlowRecord } from '#api/flows.ts';
import { HostPair } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { playScene } from '../support/scene.ts';

const PORT = 7_650;
const HELD_MS = 300;
/** The server resets the connection, so the connection of the client counts as failed. */
const HELD = `
server, client, peer = connected(PORT)
time.sleep(${HELD_MS / 1_000})
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
peer.close()
client.close(); server.close()
`;

let pair: HostPair;
let agent: TestKernel;

const flow = (records: object) => only({ flow: { enabled: true, records: { perPod: '1000/s', ...records } } });

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(flow({ failed: true }));
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

/** Returns the records of the connections to a port. */
function recordsOf(port: number): FlowRecord[] {
  const values = agent.records.flatMap((batch) => (batch.kind === 'flow' ? batch.values : []));
  return values.map((value) => FLOW_RECORD.parse(value)).filter(({ dstPort }) => dstPort === port);
}

async function play(port: number, records: number): Promise<FlowRecord[]> {
  await playScene(pair, 'ipv4', HELD.replace('PORT', String(port)));
  return await eventually(() => {
    expect(recordsOf(port)).toHaveLength(records);
    return recordsOf(port);
  });
}

it('records have the start of the connection only if they are more than the failed ones', async () => {
  const [failed] = await play(PORT, 1);
  expect(failed).toMatchObject({ role: 'client', end: 'reset_by_peer', startedAt: null });
  await agent.kernel.configure(probesOf(flow({ sample: '100%' })));
  const both = await play(PORT + 1, 2);
  expect(both.map(({ role }) => role).sort()).toEqual(['client', 'server']);
  for (const { time, startedAt } of both) {
    expect(startedAt).not.toBeNull();
    expect(Date.parse(time) - Date.parse(startedAt ?? '')).toBeGreaterThanOrEqual(HELD_MS);
  }
});
