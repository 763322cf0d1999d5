import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BpfObject, BpfStats } from 'bpf-napi';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { rootOfCgroups } from '#sources/sysfs/cgroup_root.ts';
import { HostPair } from '../test/support/hosts.ts';
import { only, TestKernel } from '../test/support/kernel.ts';
import { playScene } from '../test/support/scene.ts';
import { buildBpf } from './kernel/build.ts';
import type { Row } from './measure.ts';

const ROUNDS = 100_000;
/** Number of ports per peer. It exceeds an owner's limit of rows, so some edges get no row. */
const PORTS = 400;

/** Traffic between the two namespaces, by description. */
const LOADS = {
  'UDP of one edge': `
server = sock(B, socket.SOCK_DGRAM)
server.bind((ADDRESS[B], 7004))
client = sock(A, socket.SOCK_DGRAM)
client.connect((ADDRESS[B], 7004))
for i in range(${ROUNDS}):
    client.send(b'x' * 100)
    server.recv(200)
`,
  'UDP of edges that find no row': `
client = sock(A, socket.SOCK_DGRAM)
for i in range(${ROUNDS}):
    client.sendto(b'x', (ADDRESS[B], 20000 + i % ${PORTS}))
`,
  'TCP, a byte and its response': `
server = listen(B, 7005)
client = sock(A)
client.connect((ADDRESS[B], 7005))
peer, _ = server.accept()
for i in range(${ROUNDS}):
    client.send(b'x')
    peer.recv(1)
    peer.send(b'x')
    client.recv(1)
`,
} as const;

interface Time {
  readonly runs: number;
  readonly nanoseconds: number;
}

/**
 * Measures the run time of the `udpflow` programs per packet, minus that of an empty program. A single process
 * generates the traffic by sending and receiving in a loop between two namespaces.
 */
export async function benchUdpflow(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    return await measure(buildBpf('empty_cgroup.bpf.c', directory));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function measure(file: string): Promise<Row[]> {
  await using pair = await HostPair.create();
  using _stats = new BpfStats();
  using empty = await BpfObject.open(file);
  await empty.load();
  for (const { name } of empty.programs) await empty.attachCgroup(name, rootOfCgroups(DEFAULT_PATHS.cgroup));
  await using agent = await TestKernel.open(only({ udpflow: true }));
  const read = () => new Map([...timesOf(empty), ...timesOfProbe(agent)]);
  const rows: Row[] = [];
  for (const [load, program] of Object.entries(LOADS)) {
    const before = read();
    await playScene(pair, 'ipv4', program);
    const after = read();
    const each = (name: string) => perRun(before.get(name), after.get(name));
    for (const direction of ['sent', 'received']) {
      const [base, ours] = [each(`empty_${direction}`), each(`udp_${direction}`)];
      // No socket receives the datagrams to closed ports, so the program for received packets does not count them.
      if (ours.runs < ROUNDS) continue;
      const what = `${load}: udp_${direction}, ${ours.runs} hits, above an empty one of ${base.value.toFixed(0)} ns`;
      rows.push({ bench: 'udpflow: a packet', what, value: ours.value - base.value, unit: 'ns' });
    }
  }
  return rows;
}

function timesOf(object: BpfObject): [string, Time][] {
  return object.programs.map(({ name }) => {
    const { runs, runNanoseconds } = object.programInfo(name);
    return [name, { runs: Number(runs), nanoseconds: Number(runNanoseconds) }];
  });
}

function timesOfProbe(agent: TestKernel): [string, Time][] {
  const programs = agent.kernel.probes().find(({ name }) => name === 'udpflow')?.programs ?? [];
  return programs.map(({ name, runs, runSeconds }) => [name, { runs, nanoseconds: runSeconds * 1e9 }]);
}

function perRun(before: Time | undefined, after: Time | undefined): { readonly runs: number; readonly value: number } {
  const runs = (after?.runs ?? 0) - (before?.runs ?? 0);
  return { runs, value: ((after?.nanoseconds ?? 0) - (before?.nanoseconds ?? 0)) / runs };
}
