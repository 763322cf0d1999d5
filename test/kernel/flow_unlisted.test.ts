import { BpfMap } from 'bpf-napi';
import { afterEach, expect, it, vi } from 'vitest';
import { flowKey } from '#bpf/generated/common.ts';
import { FLOW_ROWS_MAX } from '#probe/tcp_ends_object.ts';
import { CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { startPython, TestNetns } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { startIn } from '../support/pod_processes.ts';

const SENT = 'netsonde_flow_sent_bytes_total';
const LISTEN_DROPS = 'netsonde_tcp_port_listen_drops_total';
/**
 * Options that show connections to a namespace's own addresses, which are hidden by default. The limits are high
 * because this machine may have many namespaces without an owner, and all of them share rows.
 */
const SHOWN = { loopback: true, edges: 1_000, ports: 1_000, rows: FLOW_ROWS_MAX };
const CONNECTIONS = 5;
const BYTES = 1_000;

/** Connects to itself over loopback. */
const exchange = (port: number) => `
import socket
server = socket.create_server(('127.0.0.1', ${port}))
for _ in range(${CONNECTIONS}):
    client = socket.create_connection(('127.0.0.1', ${port}))
    peer, _ = server.accept()
    client.sendall(bytes(${BYTES}))
    left = ${BYTES}
    while left: left -= len(peer.recv(left))
    client.close(); peer.close()
`;

/** Opens more connections to a socket than fit into its accept queue. */
const overflow = (port: number) => `
full = socket.create_server(('127.0.0.1', ${port}), backlog=0)
waiting = [socket.socket() for _ in range(4)]
for client in waiting:
    client.setblocking(False)
    client.connect_ex(('127.0.0.1', ${port}))
`;

/** Generates traffic in a namespace that has neither a process nor a name afterwards. */
const HIDDEN = (traffic: string) => `
import ctypes, os, subprocess, time
def unshare(): assert ctypes.CDLL(None).unshare(0x40000000) == 0
unshare()
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
${traffic}
kept = os.open('/proc/self/ns/net', os.O_RDONLY)
unshare()
print('ready')
time.sleep(1000)
`;

let agent: TestKernel;

afterEach(async () => {
  vi.restoreAllMocks();
  await agent?.[Symbol.asyncDispose]();
});

const sent = async (port: number, labels: Readonly<Record<string, string>>) =>
  sampleValue(await agent.page(), SENT, { role: 'client', port: String(port), ...labels });

it('namespaces without an owner are shown as unlisted, and keep their totals when they are gone', async () => {
  const [port, full] = [7_680, 7_682];
  agent = await TestKernel.open(only({ flow: { enabled: true, ...SHOWN }, tcpsummary: { enabled: true } }), {
    kubernetes: true,
  });
  using outer = new TestNetns();
  {
    await using _hidden = await startPython(outer, HIDDEN(exchange(port) + overflow(full)));
    await eventually(async () => expect(await sent(port, { pod: 'unlisted' })).toBe(CONNECTIONS * BYTES));
    expect(sampleValue(await agent.page(), LISTEN_DROPS, { pod: 'unlisted', port: String(full) })).toBeGreaterThan(0);
    // Namespaces without an owner may belong to another node on this machine, so the API leaves them out.
    const answer = await agent.kernel.flows.report({ port, failed: false, limit: 10 });
    expect(answer).toMatchObject({ report: { edges: [], omitted: 0 } });
  }
  expect(await sent(port, { pod: 'unlisted' })).toBe(CONNECTIONS * BYTES);
});

it('the rows of a Pod that shares the node’s namespace end after the Pod has left the page', async () => {
  const port = 7_681;
  agent = await TestKernel.open(only({ flow: { enabled: true, ...SHOWN }, lifecycle: { retire: '2s' } }), {
    kubernetes: true,
  });
  const deleted = new Set<number>();
  const erase = vi.spyOn(BpfMap.prototype, 'delete');
  {
    await using pod = new TestPod(CGROUP_V2);
    const program = `${exchange(port)}import time; time.sleep(1000)`;
    await using _process = await startIn(pod.container, undefined, ['python3', '-c', program]);
    await eventually(async () => expect(await sent(port, { pod: pod.uid })).toBe(CONNECTIONS * BYTES));
  }
  await eventually(async () => {
    await agent.page();
    for (const [index, [key]] of erase.mock.calls.entries()) {
      if ((erase.mock.contexts[index] as BpfMap).name !== 'flow_rows') continue;
      const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
      if (Number(flowKey.cgroup(view, 0)) !== 0) deleted.add(flowKey.port(view, 0));
    }
    expect(deleted).toContain(port);
  });
});
