import { expect, it } from 'vitest';
import { FLOWS_REPORT } from '#api/flows.ts';
import { sampleValue } from '../support/exposition.ts';
import { startPython, TestNetns } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

/** Minimum value of the option `rows`. It leaves each owner a single row. */
const ROWS = 16;
const BYTES = 1_000;
const PORTS = [7_690, 7_691, 7_692];

const SEND = (port: number) => `
import socket, subprocess, time
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
server = socket.create_server(('127.0.0.1', ${port}))
client = socket.create_connection(('127.0.0.1', ${port}))
peer, _ = server.accept()
client.sendall(bytes(${BYTES}))
client.close()
while peer.recv(${BYTES}): pass
peer.close()
print('ready')
time.sleep(1000)
`;

it('sums over an answer do not decrease while rows are evicted', async () => {
  using netns = new TestNetns();
  await using agent = await TestKernel.open(only({ flow: { enabled: true, loopback: true, rows: ROWS } }));
  await eventually(async () => expect((await agent.kernel.entities()).map(({ pod }) => pod)).toContain(netns.name));
  let [sum, departed] = [0, 0];
  const look = async () => {
    const page = await agent.page();
    const answer = await agent.kernel.flows.report({ pod: netns.name, role: 'client', failed: false, limit: 1_000 });
    const report = FLOWS_REPORT.parse('report' in answer ? answer.report : undefined);
    const sentOf = (edges: readonly { sentBytes: number }[]) =>
      edges.reduce((all, { sentBytes }) => all + sentBytes, 0);
    const now = sentOf([...report.edges, ...report.rest, ...report.departed]);
    expect(now).toBeGreaterThanOrEqual(sum);
    [sum, departed] = [now, sentOf(report.departed)];
    return page;
  };
  for (const [index, port] of PORTS.entries()) {
    await using _process = await startPython(netns, SEND(port));
    await eventually(async () => {
      await look();
      expect(sum).toBe((index + 1) * BYTES);
    });
    await eventually(async () => {
      expect(sampleValue(await look(), 'netsonde_flow_evicted_rows_total', {})).toBeGreaterThan(index);
    });
  }
  expect(sum).toBe(PORTS.length * BYTES);
  expect(departed).toBeGreaterThan(0);
});
