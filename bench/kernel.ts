import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BpfObject, BpfStats } from 'bpf-napi';
import { LoopDevice } from '../test/support/block.ts';
import { run, sh } from '../test/support/command.ts';
import { HostPair } from '../test/support/hosts.ts';
import { probesOf, TestKernel } from '../test/support/kernel.ts';
import { playScene } from '../test/support/scene.ts';
import { buildBpf, buildProgram } from './kernel/build.ts';
import { median, type Row } from './measure.ts';

const PROBES = ['packetloss', 'tcpretrans', 'tcpreset'] as const;

/**
 * A probe that is off by default. The bench enables it to measure its cost per hit. It uses tracepoints if the kernel
 * does not allow function hooks.
 */
const MEASURED = 'kernellatency';

const FLOOD_PACKETS = 192_000;
const PAIRS = 15;
/** A port on which no socket listens. */
const CLOSED = 7_001;

/** Traffic that runs each hook often enough to measure its time with a resolution of nanoseconds. */
const LOAD = `
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
drops = sock(A, socket.SOCK_DGRAM)
for i in range(200000):
    drops.sendto(b'x', (ADDRESS[B], ${CLOSED}))
    if i % 64 == 0:
        try: drops.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError: pass
wanted = sock(B, socket.SOCK_DGRAM)
wanted.bind((ADDRESS[B], 7004))
for i in range(100000):
    drops.sendto(b'x', (ADDRESS[B], 7004))
    wanted.recv(1)
for i in range(60000):
    s = sock(A); s.connect_ex((ADDRESS[B], ${CLOSED})); s.close()
drop(B, 'tcp dport 7002 drop')
silent = []
for i in range(3500):
    s = sock(A); s.setblocking(False); s.connect_ex((ADDRESS[B], 7002)); silent.append(s)
time.sleep(1.5)
for s in silent: s.close()
undrop(B)
drop(B, 'tcp dport 7003 tcp flags & (syn|ack) == ack drop')
server = listen(B, 7003, 4000)
half = [sock(A) for i in range(3000)]
for s in half: s.connect((ADDRESS[B], 7003))
time.sleep(1.5)
undrop(B)
`;

/**
 * Measures the run time of each BPF program per hit. Also measures the time per packet in a flood of small packets,
 * with and without the probes.
 */
export async function benchKernel(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const empty = buildBpf('empty.bpf.c', directory);
    const flood = buildProgram('flood.c', directory);
    await using pair = await HostPair.create();
    return [...(await perHit(pair, empty)), ...(await floods(pair, flood))];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function perHit(pair: HostPair, file: string): Promise<Row[]> {
  using _stats = new BpfStats();
  using empty = await BpfObject.open(file);
  await empty.load();
  for (const { name } of empty.programs) await empty.attach(name);
  await using agent = await TestKernel.open(`{ sinks: {}, probes: { ${MEASURED}: true } }`);
  await playScene(pair, 'ipv4', LOAD);
  makeWork();
  const bench = 'a hit of a program, events on';
  return [agent.kernel.discovery(), ...agent.kernel.probes()].flatMap(({ name, programs }) =>
    programs
      .filter(({ hook }) => empty.programs.some(({ section }) => section === hook))
      .map(({ name: program, hook, runs, runSeconds }) => {
        const beside = empty.programInfo(empty.programs.find(({ section }) => section === hook)?.name ?? '');
        const base = Number(beside.runNanoseconds) / Number(beside.runs);
        const value = (runSeconds * 1e9) / runs - base;
        const what = `${name}: ${program}, ${runs} hits, above an empty one of ${base.toFixed(0)} ns`;
        return { bench, what, value, unit: 'ns', ...(name === MEASURED ? {} : { bound: { atMost: 100 } }) };
      }),
  );
}

/** Executes programs and reads from a loop device, because both run work on kernel workqueues. */
function makeWork(): void {
  run('sh', '-c', 'for i in $(seq 3000); do /bin/true; done');
  using device = new LoopDevice();
  for (let pass = 0; pass < 10; pass++) sh(`dd if=${device.path} of=/dev/null bs=4k iflag=direct status=none`);
}

async function floods(pair: HostPair, program: string): Promise<Row[]> {
  await using agent = await TestKernel.open('{}');
  const rows: Row[] = [];
  for (const read of [true, false]) {
    const run = () => nanosecondsAPacket(pair, program, read);
    const bench = `a flood of ${read ? 'delivered' : 'refused'} datagrams of 32 bytes`;
    for (const probes of [...PROBES.map((name) => [name]), [...PROBES]]) {
      const ratios: number[] = [];
      for (let index = 0; index < PAIRS; index++) {
        await agent.kernel.configure({});
        const without = run();
        await agent.kernel.configure(only(probes));
        ratios.push(without / run());
      }
      const what = probes.length > 1 ? 'all by default' : probes.join();
      const bound = probes.length > 1 && read ? { bound: { atLeast: 0.95 } } : {};
      rows.push({
        bench,
        what: `${what}: rate with : without (median of ${PAIRS} pairs)`,
        value: median(ratios),
        unit: '',
        ...bound,
      });
    }
    await agent.kernel.configure({});
    rows.push({ bench, what: 'a packet without probes', value: median(Array.from({ length: 5 }, run)), unit: 'ns' });
  }
  return rows;
}

function only(probes: readonly string[]): ReturnType<typeof probesOf> {
  return Object.fromEntries(Object.entries(probesOf('{}')).filter(([name]) => probes.includes(name)));
}

function nanosecondsAPacket({ a, b, addressB }: HostPair, program: string, read: boolean): number {
  const port = read ? 7_004 : CLOSED;
  const args = [a.netns.name, b.netns.name, addressB.ipv4, port, FLOOD_PACKETS, read ? 1 : 0].map(String);
  return Number(execFileSync(program, args, { encoding: 'utf8' }));
}
