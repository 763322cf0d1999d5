import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import type { Btf } from '#sources/bpf/btf.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import { MibFiles } from '#sources/mib/files.ts';
import type { MibSnapshot } from '#sources/mib/snapshot.ts';
import { MibSource } from '#sources/mib/source.ts';
import { MIB_TABLES, type MibTable } from '#sources/mib/tables.ts';
import { MibWalk } from '#sources/mib/walk.ts';
import { NetFiles } from '#sources/net_files.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { readText } from '#sources/procfs/read.ts';
import { parseSnmp, parseSnmp6 } from '#sources/procfs/snmp.ts';
import { TestNetns } from '../support/hosts.ts';
import { OBJECTS } from '../support/kernel.ts';
import { readBoth } from '../support/oracle.ts';

const NAMESPACES = 50;
const CHURN = 300;
const TABLES = new Set<MibTable>(MIB_TABLES);
/** Fields in the kernel's files that are not MIB counters: protocol constants, and ICMP messages by type number. */
const NOT_COUNTED = /^(RtoAlgorithm|RtoMin|RtoMax|MaxConn|(In|Out)Type\d+)$/;
const PASS_ROWS = fileURLToPath(new URL('../support/walk_rows.ts', import.meta.url));

/**
 * The arguments are a CPU ('' for any), followed by pairs of a namespace and a number. In each namespace, the program
 * causes that number of datagrams, fragments, echo requests, datagrams to closed ports and refused connections.
 */
const TRAFFIC = `
import ctypes, os, socket, sys
def traffic(n):
    for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        receiver.bind((address, 0))
        sender = socket.socket(family, socket.SOCK_DGRAM)
        for _ in range(n):
            sender.sendto(b'x' * n, receiver.getsockname())
            receiver.recv(100)
        for _ in range(n % 7):
            try: sender.sendto(b'x', (address, 9))
            except ConnectionRefusedError: pass
        lite = socket.socket(family, socket.SOCK_DGRAM, 136)
        lite.bind((address, 0))
        for _ in range(n % 4 + 1):
            lite.sendto(b'x', lite.getsockname())
            lite.recv(100)
            receiver.sendto(b'x' * 5000, receiver.getsockname())
            receiver.recv(6000)
        v6 = family == socket.AF_INET6
        ping = socket.socket(family, socket.SOCK_RAW, 58 if v6 else 1)
        for _ in range(n % 3):
            # The kernel computes the checksum only for ICMPv6. This constant is the correct one for ICMP.
            ping.sendto(bytes([128 if v6 else 8, 0, *(() if v6 else (0xf7, 0xff)), *((0, 0) if v6 else ()), 0, 0, 0, 0]), (address, 0))
        server = socket.create_server((address, 0), family=family)
        client = socket.create_connection(server.getsockname()[:2])
        accepted, _ = server.accept()
        client.sendall(b'x' * n)
        accepted.recv(100)
        client.close()
        for _ in range(n % 5):
            refused = socket.socket(family, socket.SOCK_STREAM)
            refused.connect_ex((address, 9))
            refused.close()
if sys.argv[1]: os.sched_setaffinity(0, {int(sys.argv[1])})
for name, n in zip(sys.argv[2::2], sys.argv[3::2]):
    with open('/run/netns/' + name) as netns:
        assert ctypes.CDLL(None).setns(netns.fileno(), 0x40000000) == 0
    traffic(int(n))
`;

const resources = new AsyncDisposableStack();
const bpf = new BpfSource(OBJECTS, '/sys');
const cpus = cpusOf('/sys');
let namespaces: TestNetns[];
let ids: NetnsId[];
let registry: NetnsRegistry;
let files: MibFiles;
let pass: MibWalk;
let fields: { table: MibTable; field: string }[];

function ended(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('exit', resolve));
}

async function hold({ name }: TestNetns): Promise<void> {
  const child = spawn('ip', ['netns', 'exec', name, 'sleep', '1000'], { stdio: 'ignore' });
  resources.adopt(child, async () => {
    const gone = ended(child);
    child.kill('SIGKILL');
    await gone;
  });
}

/** Generates the given number of rounds of traffic in each namespace. */
async function makeTraffic(rounds: readonly (readonly [TestNetns, number])[], cpu?: number): Promise<void> {
  const words = rounds.flatMap(([{ name }, count]) => [name, String(count)]);
  const child = spawn('python3', ['-c', TRAFFIC, String(cpu ?? ''), ...words], { stdio: 'inherit' });
  expect(await ended(child)).toBe(0);
}

/** Returns every field in this kernel's files. */
function fieldsOfFiles(): { table: MibTable; field: string }[] {
  const snmp = parseSnmp(readText('/proc/self/net/snmp') ?? '', () => undefined);
  const netstat = parseSnmp(readText('/proc/self/net/netstat') ?? '', () => undefined);
  const snmp6 = [...parseSnmp6(readText('/proc/self/net/snmp6') ?? '', () => undefined).keys()];
  const namesOf = (table: MibTable) =>
    table.endsWith('6')
      ? snmp6.filter((name) => name.startsWith(table)).map((name) => name.slice(table.length))
      : [...(snmp.get(table) ?? netstat.get(table) ?? new Map()).keys()];
  return [...TABLES]
    .flatMap((table) => namesOf(table).map((field) => ({ table, field })))
    .filter(({ field }) => !NOT_COUNTED.test(field));
}

/** Returns all values by namespace, in the order of `fields`. */
function rowsOf(snapshot: MibSnapshot): Record<string, unknown[]> {
  const columns = fields.map(({ table, field }) => snapshot.column(table, field));
  return Object.fromEntries(
    namespaces.map(({ name }, index) => {
      const row = snapshot.ids.indexOf(ids[index] as NetnsId);
      return [name, columns.map((column) => column !== undefined && snapshot.value(row, column))];
    }),
  );
}

beforeAll(async () => {
  namespaces = Array.from({ length: NAMESPACES }, () => resources.use(new TestNetns()));
  for (const [index, netns] of namespaces.entries()) {
    netns.ip('link set lo up mtu 1500');
    // Every second namespace has a process.
    if (index % 2 === 0) await hold(netns);
  }
  await makeTraffic(namespaces.map((netns, index) => [netns, index + 1]));
  ids = namespaces.map(({ cookie }) => asNetnsId(Number(cookie)));
  const kernel = resources.use(await BpfNetnsKernel.open(bpf, DEFAULT_PATHS.proc, () => undefined));
  registry = new NetnsRegistry(DEFAULT_PATHS);
  await new Scanner(DEFAULT_PATHS, kernel, registry).refresh();
  files = new MibFiles(registry, new NetFiles('/proc', registry, new SourceErrors()));
  pass = resources.use(await MibWalk.open(bpf, cpus));
  fields = fieldsOfFiles();
});

afterAll(() => resources.disposeAsync());

it(`the walk and the files give equal rows in ${NAMESPACES} namespaces, in every field of this kernel`, async () => {
  const { oracle, ours } = await readBoth(
    async () => rowsOf(await files.read(TABLES, freeCycle())),
    async () => rowsOf(await pass.read(freeCycle())),
  );
  expect(ours).toEqual(oracle);
  expect(fields.length).toBeGreaterThan(300);
  const values = Object.values(ours).flat();
  expect(values).not.toContain(undefined);
  expect(values).not.toContain(false);
  expect(values.filter((value) => Number(value) > 0).length).toBeGreaterThan(NAMESPACES * 30);
  for (const table of TABLES) {
    const moved = fields.some(
      (field, index) => field.table === table && Object.values(ours).some((row) => row[index] !== 0),
    );
    expect(moved, table).toBe(true);
  }
});

it('a table that the walk lacks is read from the files alone', async () => {
  const withoutUdp: Pick<BpfSource, 'btf' | 'load'> = {
    btf: () =>
      ({
        enumWithMember: (member: string) => (member === '__UDP_MIB_MAX' ? undefined : bpf.btf().enumWithMember(member)),
      }) as Btf,
    load: (spec) => bpf.load(spec),
  };
  const source = new MibSource(
    withoutUdp as BpfSource,
    cpus,
    registry,
    new NetFiles('/proc', registry, new SourceErrors()),
    () => undefined,
  );
  await using _use = await source.use(['Udp', 'Udp6', 'Tcp']);
  expect(source.health.reader).toBe('pass');
  const inThree = ({ table }: { table: MibTable }) => ['Udp', 'Udp6', 'Tcp'].includes(table);
  const choose = (rows: Record<string, unknown[]>) =>
    Object.fromEntries(
      Object.entries(rows).map(([name, row]) => [
        name,
        row.filter((_, index) => inThree(fields[index] ?? { table: 'Ip' })),
      ]),
    );
  const { oracle, ours } = await readBoth(
    async () => choose(rowsOf(await files.read(TABLES, freeCycle()))),
    async () => choose(rowsOf(await source.read(freeCycle()))),
  );
  expect(ours).toEqual(oracle);
});

it(`slices miss, double and tear no row while ${CHURN} namespaces start and end`, async () => {
  using small = await MibWalk.open(bpf, cpus, () => false, 8);
  const still = rowsOf(await small.read(freeCycle()));
  const churn = spawn('sh', ['-c', `for i in $(seq ${CHURN}); do unshare -n true; done`], { stdio: 'inherit' });
  let running = true;
  const done = ended(churn).then((code) => {
    running = false;
    return code;
  });
  let passes = 0;
  const lengths = new Set<number>();
  while (running) {
    const snapshot = await small.read(freeCycle());
    expect(new Set(snapshot.ids).size).toBe(snapshot.ids.length);
    expect(rowsOf(snapshot)).toEqual(still);
    lengths.add(snapshot.ids.length);
    passes++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await done).toBe(0);
  expect(passes).toBeGreaterThan(20);
  // The number of rows must have varied, because namespaces were created and removed during the walks.
  expect(lengths.size).toBeGreaterThan(1);
});

it('the walk gives the same rows from inside another namespace', async () => {
  const rowsFrom = async (command: readonly string[]) => {
    const child = spawn(command[0] ?? '', [...command.slice(1), process.execPath, PASS_ROWS], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (data) => {
      text += String(data);
    });
    expect(await ended(child)).toBe(0);
    const rows = JSON.parse(text) as Record<string, number[]>;
    return Object.fromEntries(ids.map((id) => [String(id), rows[String(id)]]));
  };
  const inside = await rowsFrom(['ip', 'netns', 'exec', namespaces[3]?.name ?? '']);
  expect(inside).toEqual(await rowsFrom(['env']));
  expect(Object.values(inside)).not.toContain(undefined);
});

it('keeps the counts of a CPU that is offline now', async () => {
  const [netns] = namespaces;
  if (netns === undefined || cpus.possible().length < 2) throw new Error('the test needs two CPUs');
  await makeTraffic([[netns, 30]], 1);
  // In this walk, the second CPU counts as offline. Its counters are still included, although the walk need not read
  // them again.
  using reduced = await MibWalk.open(bpf, { possible: cpus.possible, online: () => [0] });
  const received = (snapshot: MibSnapshot) => {
    const column = snapshot.column('Udp', 'InDatagrams');
    return column === undefined ? undefined : snapshot.value(snapshot.ids.indexOf(ids[0] as NetnsId), column);
  };
  const whole = received(await pass.read(freeCycle()));
  expect(received(await reduced.read(freeCycle()))).toBe(whole);
  expect(Number(whole)).toBeGreaterThanOrEqual(30);
  await makeTraffic([[netns, 5]], 0);
  expect(Number(received(await reduced.read(freeCycle())))).toBe(Number(whole) + 5 + 2);
});
