import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { KIND } from '#sources/bpf/btf.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { rootOfCgroups } from '#sources/sysfs/cgroup_root.ts';
import { sh } from './command.ts';
import type { Exposition } from './exposition.ts';
import { retransmitted } from './flow_run.ts';
import { type HostPair, type TestNetns, uniqueName } from './hosts.ts';
import { OBJECTS, only, probesOf, TestKernel } from './kernel.ts';
import { eventually } from './oracle.ts';
import { type Family, playScene, type ScenePair } from './scene.ts';
import { nstatOf } from './socket_sums.ts';

const SOURCE = fileURLToPath(new URL('./beside/programs.bpf.c', import.meta.url));
/** Addresses of a service. No host has these addresses. They must match programs.bpf.c, and so must all ports. */
const SERVICE = { ipv4: '10.9.0.99', ipv6: 'fd09::99' };
const [BACKEND, PROXY, SHORTCUT, SERVER, LOSSY, PLAIN] = [7_901, 7_902, 7_903, 7_904, 7_905, 7_906];
const [REQUEST, RESPONSE] = [30_000, 70_000];
const FLOW = { enabled: true, detail: 'full', identity: 'address', loopback: true } as const;
const CONFIG = only({ flow: FLOW });

/**
 * Loads the programs, and attaches each one by its number in enum bpf_attach_type (kernel: include/uapi/linux/bpf.h).
 */
const PRELUDE = `
CGROUP_EGRESS, SK_VERDICT, MSG_VERDICT, CONNECT4, CONNECT6, TCX_INGRESS = 1, 5, 7, 10, 11, 46
bpf = ctypes.CDLL('libbpf.so.1', use_errno=True)
for name in ('bpf_object__open_file', 'bpf_object__find_program_by_name', 'bpf_object__find_map_by_name'):
    getattr(bpf, name).restype = ctypes.c_void_p
loaded = ctypes.c_void_p(bpf.bpf_object__open_file(OBJECT.encode(), None))
def find(name):
    return ctypes.c_void_p(bpf.bpf_object__find_program_by_name(loaded, name.encode()))
for name in ('rewrite', 'rewrite6', 'pass', 'forward', 'shortcut', 'lose'):
    bpf.bpf_program__set_autoload(find(name), name in PROGRAMS)
assert bpf.bpf_object__load(loaded) == 0
def program(name):
    return bpf.bpf_program__fd(find(name))
def map_of(name):
    return bpf.bpf_map__fd(ctypes.c_void_p(bpf.bpf_object__find_map_by_name(loaded, name.encode())))
def attach(name, target, kind):
    result = bpf.bpf_prog_attach(program(name), target, kind, 0)
    if result: raise OSError(-result, os.strerror(-result))
def put(name, index, sock):
    key, value = ctypes.c_uint32(index), ctypes.c_uint64(sock.fileno())
    assert bpf.bpf_map_update_elem(map_of(name), ctypes.byref(key), ctypes.byref(value), ctypes.c_uint64(0)) == 0
def take(sock, count):
    while count: count -= len(sock.recv(count))
def exchange(client, server, request=${REQUEST}, response=${RESPONSE}):
    client.sendall(bytes(request)); take(server, request)
    server.sendall(bytes(response)); take(client, response)
def tell(*socks):
    """Prints the payload bytes that each socket has sent and received, by TCP_INFO."""
    for one in socks:
        info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 216)
        received, = struct.unpack_from('Q', info, 128)
        sent, again = struct.unpack_from('QQ', info, 200)
        print(sent - again); print(received)
def end(*socks):
    for one in socks: one.close()
`;

/** Resources of all checks: the object file with the programs, and an agent that runs beside them. */
export interface BesideContext {
  readonly pair: HostPair;
  readonly agent: TestKernel;
  readonly object: string;
}

type Checks = Readonly<Record<string, (context: BesideContext) => Promise<void>>>;

export async function openBeside(pair: HostPair, resources: AsyncDisposableStack): Promise<BesideContext> {
  const folder = mkdtempSync(join(tmpdir(), 'beside-'));
  resources.defer(() => rmSync(folder, { recursive: true }));
  const object = join(folder, 'beside.o');
  const headers = `-I/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;
  execFileSync('clang', ['-target', 'bpf', '-O2', '-g', headers, '-c', SOURCE, '-o', object]);
  return { pair, object, agent: resources.use(await TestKernel.open(CONFIG)) };
}

const constants = (object: string, programs: readonly string[]) =>
  `OBJECT, PROGRAMS = ${JSON.stringify(object)}, ${JSON.stringify(programs)}\n`;

async function play(
  { pair, object }: BesideContext,
  programs: string[],
  program: string,
  family: Family = 'ipv4',
): Promise<number[]> {
  const { printed } = await playScene(pair, family, `${constants(object, programs)}${PRELUDE}${program}`);
  return printed;
}

interface Shown {
  readonly connections: number;
  readonly sent: number;
  readonly received: number;
}

function edgeOn({ named }: Exposition, netns: TestNetns, role: string, peer: string, port: number): Shown {
  const value = (name: string) => {
    const found = (named.get(name) ?? []).find(
      ({ labels }) =>
        labels['pod'] === netns.name &&
        labels['role'] === role &&
        labels['peer'] === peer &&
        labels['port'] === String(port),
    );
    return found === undefined ? 0 : Number(found.value);
  };
  return {
    connections: value('netsonde_flow_connections_total'),
    sent: value('netsonde_flow_sent_bytes_total'),
    received: value('netsonde_flow_received_bytes_total'),
  };
}

const one = (sent: number, received: number): Shown => ({ connections: 1, sent, received });

/** Waits until the agent's page shows these edges. */
async function expectEdges(agent: TestKernel, edges: readonly (readonly [TestNetns, string, string, number, Shown])[]) {
  await eventually(async () => {
    const page = await agent.page();
    for (const [netns, role, peer, port, shown] of edges) {
      deepEqual(edgeOn(page, netns, role, peer, port), shown, `${role} of ${peer} ${port}`);
    }
  }, 10_000);
}

const CONNECT = (program: string, hook: string, service: string) => `
import tempfile
folder = tempfile.mkdtemp(prefix='netsonde-test-', dir=ROOT)
attach('${program}', os.open(folder, os.O_RDONLY), ${hook})
open(folder + '/cgroup.procs', 'w').write(str(os.getpid()))
try:
    server = listen(B, ${BACKEND})
    client = sock(A); client.connect(('${service}', 80))
    peer, _ = server.accept()
    exchange(client, peer)
    end(client, peer, server)
finally:
    open(ROOT + '/cgroup.procs', 'w').write(str(os.getpid()))
    os.rmdir(folder)
`;

const FORWARD = `
attach('forward', map_of('proxied'), SK_VERDICT)
proxy, server = listen(B, ${PROXY}), listen(B, ${SERVER})
client = sock(A); client.connect((ADDRESS[B], ${PROXY}))
inward, _ = proxy.accept()
outward = sock(B); outward.connect((ADDRESS[B], ${SERVER}))
served, _ = server.accept()
put('proxied', 0, inward); put('proxied', 1, outward)
exchange(client, served)
tell(client, inward, outward, served)
end(client, served, inward, outward, proxy, server)
`;

const SHORTCUT_PAST_TCP = `
attach('shortcut', map_of('shortcuts'), MSG_VERDICT)
listener = listen(B, ${SHORTCUT})
client = sock(B); client.connect((ADDRESS[B], ${SHORTCUT}))
served, _ = listener.accept()
exchange(client, served, 1000, 2000)
put('shortcuts', 0, served); put('shortcuts', 1, client)
exchange(client, served)
tell(client, served)
end(client, served, listener)
`;

const LOSE = `
enter(B)
link = bpf.bpf_link_create(program('lose'), socket.if_nametoindex(DEVICE), TCX_INGRESS, None)
assert link >= 0
listener = listen(B, ${LOSSY})
client = sock(A); client.connect((ADDRESS[B], ${LOSSY}))
served, _ = listener.accept()
for _ in range(20): exchange(client, served, 1000, 100)
tell(client, served)
end(client, served, listener)
os.close(link)
`;

const CHECKS: Checks = {
  'a program that replaces addresses in connect(): the edge has the server': async (context) => {
    const { agent, pair } = context;
    const root = rootOfCgroups(`${DEFAULT_PATHS.sys}/fs/cgroup`);
    for (const [family, program, hook] of [
      ['ipv4', 'rewrite', 'CONNECT4'],
      ['ipv6', 'rewrite6', 'CONNECT6'],
    ] as const) {
      const scene = CONNECT(program, hook, SERVICE[family]);
      await play(context, [program], `ROOT = '${root}'\n${scene}`, family);
      await expectEdges(agent, [
        [pair.a.netns, 'client', pair.addressB[family], BACKEND, one(REQUEST, RESPONSE)],
        [pair.b.netns, 'server', pair.addressA[family], BACKEND, one(RESPONSE, REQUEST)],
        [pair.a.netns, 'client', SERVICE[family], 80, { connections: 0, sent: 0, received: 0 }],
      ]);
    }
  },

  'a sockmap that forwards from one socket to another: each socket has what it carried': async (context) => {
    const { agent, pair } = context;
    const printed = await play(context, ['forward'], FORWARD);
    deepEqual(printed, [REQUEST, RESPONSE, RESPONSE, REQUEST, REQUEST, RESPONSE, RESPONSE, REQUEST]);
    await expectEdges(agent, [
      [pair.a.netns, 'client', pair.addressB.ipv4, PROXY, one(REQUEST, RESPONSE)],
      [pair.b.netns, 'server', pair.addressA.ipv4, PROXY, one(RESPONSE, REQUEST)],
      [pair.b.netns, 'client', pair.addressB.ipv4, SERVER, one(REQUEST, RESPONSE)],
      [pair.b.netns, 'server', pair.addressB.ipv4, SERVER, one(RESPONSE, REQUEST)],
    ]);
  },

  'a sockmap that hands data past TCP: the edge has what TCP carried, as the kernel says': async (context) => {
    const { agent, pair } = context;
    const printed = await play(context, ['shortcut'], SHORTCUT_PAST_TCP);
    const [sent = 0, received = 0, servedSent = 0, servedReceived = 0] = printed;
    deepEqual([sent, received, servedSent, servedReceived], [1_000, 2_000, 2_000, 1_000]);
    await expectEdges(agent, [
      [pair.b.netns, 'client', pair.addressB.ipv4, SHORTCUT, one(sent, received)],
      [pair.b.netns, 'server', pair.addressB.ipv4, SHORTCUT, one(servedSent, servedReceived)],
    ]);
  },
};

const TCX: Checks = {
  'a tcx program that drops packets: every byte counts once, and every retransmission counts': async (context) => {
    const { agent, pair } = context;
    const { a, b, deviceB } = pair;
    const before = nstatOf(a.netns, ['TcpRetransSegs'])['TcpRetransSegs'] ?? 0;
    const shownBefore = retransmitted(await agent.page(), a.netns.name);
    const printed = await play(context, ['lose'], `DEVICE = '${deviceB}'\n${LOSE}`);
    deepEqual(printed, [20_000, 2_000, 2_000, 20_000]);
    await expectEdges(agent, [
      [a.netns, 'client', pair.addressB.ipv4, LOSSY, one(20_000, 2_000)],
      [b.netns, 'server', pair.addressA.ipv4, LOSSY, one(2_000, 20_000)],
    ]);
    const again = (nstatOf(a.netns, ['TcpRetransSegs'])['TcpRetransSegs'] ?? 0) - before;
    ok(again > 0);
    equal(retransmitted(await agent.page(), a.netns.name) - shownBefore, again);
  },
};

const EXCHANGE = `
listener = listen(B, ${PLAIN})
client = sock(A); client.connect((ADDRESS[B], ${PLAIN}))
served, _ = listener.accept()
exchange(client, served)
end(client, served, listener)
`;

/** Connects the namespaces of a pair by netkit devices, which some network plugins use instead of veth. */
function joinByNetkit({ a, b }: HostPair): ScenePair {
  const [name, peer] = [uniqueName('nk'), 'nk0'];
  a.netns.ip(`link add ${name} type netkit`);
  sh(`ip -n ${a.netns.name} link set ${peer} netns ${b.netns.name}`);
  const addresses = ['10.9.7.1', '10.9.7.2'] as const;
  a.netns.ip(`addr add ${addresses[0]}/24 dev ${name}`);
  b.netns.ip(`addr add ${addresses[1]}/24 dev ${peer}`);
  a.netns.ip(`link set ${name} up`);
  b.netns.ip(`link set ${peer} up`);
  const of = (ipv4: string) => ({ ipv4, ipv6: '' });
  return { a, b, addressA: of(addresses[0]), addressB: of(addresses[1]) };
}

const NETKIT: Checks = {
  'netkit devices: the edges are exact': async ({ agent, pair, object }) => {
    const joined = joinByNetkit(pair);
    await playScene(joined, 'ipv4', `${constants(object, ['pass'])}${PRELUDE}${EXCHANGE}`);
    await expectEdges(agent, [
      [pair.a.netns, 'client', joined.addressB.ipv4, PLAIN, one(REQUEST, RESPONSE)],
      [pair.b.netns, 'server', joined.addressA.ipv4, PLAIN, one(RESPONSE, REQUEST)],
    ]);
  },
};

/** Returns the checks that are possible on this kernel. Their programs affect only the namespaces of the test. */
export function besideChecks(): Checks {
  const btf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys).btf();
  return {
    ...CHECKS,
    ...(btf.enumWithMember('BPF_TCX_INGRESS') === undefined ? {} : TCX),
    ...(btf.find(KIND.struct, 'netkit') === undefined ? {} : NETKIT),
  };
}

/** Attaches a program exclusively to the root cgroup until stdin is closed. */
const EXCLUSIVE = `
import sys
root = os.open(ROOT, os.O_RDONLY)
attach('pass', root, CGROUP_EGRESS)
print('ready', flush=True)
sys.stdin.read()
assert bpf.bpf_prog_detach2(program('pass'), root, CGROUP_EGRESS) == 0
`;

/**
 * Checks an agent on a machine where a program is attached exclusively to the root cgroup. The probe `flow` attaches no
 * program to that cgroup, so it works. The probe `udpflow` attaches one, so it must report the reason why it cannot.
 * The check runs only in a guest, because the program would prevent other agents from working.
 */
export async function checkExclusiveProgram({ pair, object, agent }: BesideContext): Promise<void> {
  const root = rootOfCgroups(`${DEFAULT_PATHS.sys}/fs/cgroup`);
  const program = `import ctypes, os, socket, struct\nROOT = '${root}'\n${constants(object, ['pass'])}${PRELUDE}${EXCLUSIVE}`;
  const child = spawn('python3', ['-u', '-c', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const ready = new Promise((resolve) => child.stdout.once('data', () => resolve('ready')));
  equal(await Promise.race([ready, gone]), 'ready');
  try {
    await agent.kernel.configure(probesOf(only({ flow: FLOW, udpflow: true })));
    const statusOf = (name: string) => agent.kernel.probes().find((probe) => probe.name === name);
    equal(statusOf('udpflow')?.state, 'unsupported');
    match(statusOf('udpflow')?.reason ?? '', /was attached without BPF_F_ALLOW_MULTI and allows no other program/);
    await playScene(pair, 'ipv4', `${constants(object, [])}${PRELUDE}${EXCHANGE}`);
    await expectEdges(agent, [
      [pair.a.netns, 'client', pair.addressB.ipv4, PLAIN, one(REQUEST, RESPONSE)],
      [pair.b.netns, 'server', pair.addressA.ipv4, PLAIN, one(RESPONSE, REQUEST)],
    ]);
  } finally {
    child.stdin.end();
    await gone;
    await agent.kernel.configure(probesOf(CONFIG));
  }
}
