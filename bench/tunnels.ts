import { setTimeout as wait } from 'node:timers/promises';
import { BpfStats } from 'bpf-napi';
import { HostPair } from '../test/support/hosts.ts';
import { only, probesOf, TestKernel } from '../test/support/kernel.ts';
import { playScene } from '../test/support/scene.ts';
import { frame, ipv4, tcp, vxlan } from '../test/support/tunnel_packets.ts';
import { median, type Row, spreadOf } from './measure.ts';

const WINDOWS = 10;
const PACKETS = 5_000;
const PORT = 4_789;
const ETHERTYPE_IPV4 = 0x0800;
const TCP = 6;
/** Nanoseconds that a prototype took to read the packet in a tunnel, and the share of it that the agent may take. */
const [PROTOTYPE, LIMIT] = [52, 1.3];
/** More than are dropped, so that each dropped packet causes an event. */
const EVENTS_MAX = 100_000;
const EVENTS_LEAST = 0.95;
/** Milliseconds after which the last events have arrived. */
const LATE_MS = 500;

const INNER = vxlan(7, frame(ETHERTYPE_IPV4, ipv4('10.1.0.7', '10.1.0.9', TCP, tcp(40_000, 5_432))));
/** Packets of VXLAN to a port on which no socket listens, in batches that the ring of events has room for. */
const LOAD = `
sender = sock(A, socket.SOCK_DGRAM)
packet = bytes.fromhex('${INNER.toString('hex')}')
for number in range(${PACKETS}):
    sender.sendto(packet, (ADDRESS[B], ${PORT}))
    if number % 50 == 0: time.sleep(0.005)
`;

/**
 * Measures what it costs to name the packet inside of a tunnel's packet when the kernel drops it: the run time of the
 * program of `packetloss` with the option `tunnels`, minus that without it. Both programs run for the same packets, so
 * that other work on the machine slows down both. They are loaded again for each window, in both orders, because the
 * second one finds the packet in the CPU's caches, and its own place in them changes its time as well.
 */
export async function benchTunnels(): Promise<Row[]> {
  await using pair = await HostPair.create();
  using _stats = new BpfStats();
  await using plain = await TestKernel.open(only({}));
  await using naming = await TestKernel.open(only({}));
  const added: number[] = [];
  const ratios: number[] = [];
  for (let window = 0; window < WINDOWS; window++) {
    const sums = { plain: 0, naming: 0 };
    for (const isFirst of [true, false]) {
      await plain.kernel.configure(probesOf(only({})));
      await naming.kernel.configure(probesOf(only({})));
      const load = async (agent: TestKernel) =>
        await agent.kernel.configure(probesOf(only({ packetloss: { limit: EVENTS_MAX, tunnels: agent === naming } })));
      for (const agent of isFirst ? [naming, plain] : [plain, naming]) await load(agent);
      await playScene(pair, 'ipv4', LOAD);
      await wait(LATE_MS);
      sums.plain += timeOf(plain);
      sums.naming += timeOf(naming);
    }
    added.push((sums.naming - sums.plain) / 2);
    ratios.push(sums.naming / sums.plain);
  }
  const bench = `tunnels: a dropped packet of VXLAN, median of ${WINDOWS} windows`;
  return [
    {
      bench,
      what: `naming the inner packet, as a share of the ${PROTOTYPE} ns of the prototype`,
      value: median(added) / PROTOTYPE,
      unit: '',
      bound: { atMost: LIMIT },
    },
    { bench, what: 'naming the inner packet', value: median(added), unit: 'ns', spread: spreadOf(added) },
    { bench, what: 'the program with : without it', value: median(ratios), unit: '', spread: spreadOf(ratios) },
  ];
}

/**
 * Returns the nanoseconds of the program for a dropped packet since it was loaded.
 * @throws if events of the packets are missing, for which no inner packet was read
 */
function timeOf(agent: TestKernel): number {
  const told = agent.events.splice(0).filter(({ dst }) => dst?.endsWith(`:${PORT}`)).length;
  if (told < PACKETS * EVENTS_LEAST) throw new Error(`only ${told} events of ${PACKETS} packets`);
  const { programs = [] } = agent.kernel.probes().find(({ name }) => name === 'packetloss') ?? {};
  const own = programs.filter(({ hook }) => hook === 'tp_btf/kfree_skb');
  const sum = (of: (program: (typeof own)[number]) => number) => own.reduce((all, program) => all + of(program), 0);
  return (sum(({ runSeconds }) => runSeconds) * 1e9) / sum(({ runs }) => runs);
}
