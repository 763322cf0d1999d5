import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { CaptureProcess, CaptureScene, FAR, NEAR, PORT, packetSockets, SILENT } from '../support/capture_scene.ts';
import { run, sh } from '../support/command.ts';
import { startPython } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { type PcapngPacket, readPcapng, textOf } from '../support/pcapng_file.ts';
import { lacks } from '../support/programs.ts';

const COOKED_BYTES = 20;
/** IPv4 and UDP header. */
const HEADERS = 28;
const UDP = `udp port ${PORT}`;
const OUTGOING = 4;

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let scene: CaptureScene;
let path: string;
let made = 0;
beforeAll(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), 'capture-'));
  scene = new CaptureScene();
});
afterAll(async () => {
  scene[Symbol.dispose]();
  await folder.remove();
});
beforeEach(() => {
  path = join(folder.path, `${made++}.pcapng`);
});

const near = () => ['--netns', scene.near.name];
const ofFile = () => readPcapng(readFileSync(path));
const payloads = (packets: readonly PcapngPacket[]) =>
  packets.map(({ bytes }) => bytes.subarray(COOKED_BYTES + HEADERS));

/** Captures while a function causes traffic, and then stops the capture with SIGINT. */
async function during(args: readonly string[], act: () => unknown) {
  await using capture = await CaptureProcess.start([...near(), '-w', path, ...args]);
  await act();
  capture.kill('SIGINT');
  return await capture.ended();
}

describe.skipIf(lacks('tcpdump'))('a capture', () => {
  it('has the bytes that were sent, with statistics, and tcpdump reads it', async () => {
    const sizes = [0, 1, 2, 3, 4, 100, 1_472];
    const { code, counts, stderr } = await during(['--filter', UDP, '--snap', '2000'], () => {
      for (const bytes of sizes) scene.send({ bytes, count: 3 });
    });
    const count = 3 * sizes.length;
    expect(code).toBe(0);
    expect(counts).toEqual({ received: count, written: count, lost: 0, left: 0 });
    const { section, interfaces, packets, statistics } = ofFile();
    expect(payloads(packets)).toEqual(sizes.flatMap((bytes) => [0, 1, 2].map((number) => Buffer.alloc(bytes, number))));
    expect(interfaces.map(({ options }) => [2, 3, 11].map((number) => textOf(options, number)))).toEqual([
      ['eth0', scene.near.name, `\0${UDP}`],
    ]);
    expect(statistics).toEqual([{ interface: 0, received: count, dropped: 0, delivered: count }]);
    const described = `capture of packets of ${scene.near.name} (net:[${scene.near.inum}]) that match \`${UDP}\``;
    expect(textOf(section, 1)).toContain(described);
    expect(stderr).toContain(described);
    const lines = run('tcpdump', '-nr', path).trim().split('\n');
    expect(lines.filter((line) => line.includes(`> ${SILENT}.${PORT}: UDP`))).toHaveLength(count);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('has the bytes of page fragments', async () => {
    const sent = randomBytes(300_000);
    const source = join(folder.path, 'sent');
    writeFileSync(source, sent);
    await using _ = await startPython(
      scene.far,
      `
import socket
server = socket.create_server(('${FAR}', ${PORT}))
print('ready')
connection = server.accept()[0]
while connection.recv(65536): pass
`,
    );
    const { counts } = await during(['--filter', `tcp dst port ${PORT}`, '--snap', '262144'], () =>
      scene.near.python(`
import os, socket
with socket.create_connection(('${FAR}', ${PORT})) as client, open('${source}', 'rb') as file: client.sendfile(file)
`),
    );
    expect(counts).toMatchObject({ lost: 0, left: 0 });
    const segments = ofFile().packets.map(({ bytes }) => bytes.subarray(COOKED_BYTES));
    const received = Buffer.alloc(sent.length);
    const [syn] = segments as [Buffer];
    const first = syn.readUInt32BE(24) + 1;
    let longest = 0;
    for (const segment of segments) {
      const payload = segment.subarray(20 + ((segment[32] ?? 0) >> 4) * 4, segment.readUInt16BE(2));
      longest = Math.max(longest, payload.length);
      if (payload.length > 0) payload.copy(received, (segment.readUInt32BE(24) - first) >>> 0);
    }
    expect(received.equals(sent)).toBe(true);
    // Such packets are longer than the linear part of a buffer.
    expect(longest).toBeGreaterThan(4_096);
  });

  it.each([
    { rate: 1_000, snap: 64 },
    { rate: 20_000, snap: 256 },
  ])('counts exactly at $rate packets a second and $snap bytes of each', async ({ rate, snap }) => {
    let sent = 0;
    const args = ['--filter', `${UDP} and outbound`, '--snap', String(snap), '--max', '1GiB'];
    const { counts } = await during(args, () => {
      sent = scene.send({ count: rate, rate, bytes: 1_000 });
    });
    const { packets, statistics } = ofFile();
    expect(counts).toEqual({ received: sent, written: packets.length, lost: sent - packets.length, left: 0 });
    expect(statistics).toEqual([
      { interface: 0, received: sent, dropped: sent - packets.length, delivered: packets.length },
    ]);
    for (const { bytes, length } of packets) expect([bytes.length, length]).toEqual([snap + 20, 1_000 + HEADERS + 20]);
  });

  it('shows both ends in one file', async () => {
    const config = join(folder.path, 'config.yaml');
    writeFileSync(config, only({ tooluse: true }));
    await using agent = await AgentProcess.serve(['--config', config]);
    await eventually(async () => {
      const { entities } = await agent.json<{ entities: readonly { pod: string }[] }>('/api/v1/entities');
      expect(entities.map(({ pod }) => pod)).toEqual(expect.arrayContaining([scene.near.name, scene.far.name]));
    });
    const targets = ['--url', agent.url ?? '', '--pod', scene.near.name, '--peer', scene.far.name];
    await using capture = await CaptureProcess.start([...targets, '--filter', UDP, '--count', '8', '-w', path]);
    scene.near.python(`
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(4): sender.sendto(b'x', ('${FAR}', ${PORT}))
`);
    expect(await capture.ended()).toMatchObject({ code: 0, counts: { received: 8, written: 8, lost: 0, left: 0 } });
    const { interfaces, packets, section } = ofFile();
    expect(textOf(section, 1)).toContain('the agent has recorded this use as an event');
    const stream = await agent.get('/api/v1/events?follow=false', { accept: 'application/x-ndjson' });
    const events = (await stream.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    const told = { type: 'tool_used', command: 'capture', filter: UDP, uid: process.getuid?.() };
    expect(events).toEqual([scene.near.name, scene.far.name].map((pod) => expect.objectContaining({ pod, ...told })));
    const places = packets.map(({ interface: id, bytes }) => [textOf(interfaces[id]?.options ?? [], 3), bytes[10]]);
    expect(places.sort()).toEqual(
      [...Array(4).fill([scene.near.name, OUTGOING]), ...Array(4).fill([scene.far.name, 0])].sort(),
    );
    await using unknown = await CaptureProcess.start(['--url', agent.url ?? '', '--pod', 'shop/none', '-w', path]);
    expect(await unknown.ended()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('shop/none: the agent knows no such Pod on its node'),
    });
  });
});

describe.skipIf(lacks('tcpdump'))('a capture ends properly', () => {
  it('after its time, after a number of packets, and at its size', async () => {
    await using timed = await CaptureProcess.start([...near(), '--for', '1s', '-w', path]);
    expect((await timed.ended()).stderr).toContain('ended because its time is over');
    expect(ofFile().statistics).toHaveLength(1);
    await using counted = await CaptureProcess.start([...near(), '--filter', UDP, '--count', '5', '-w', path]);
    scene.send({ count: 9 });
    const { code, counts } = await counted.ended();
    expect([code, counts?.written]).toEqual([0, 5]);
    expect(ofFile().packets).toHaveLength(5);
    const { counts: sized } = await during(['--filter', UDP, '--max', '1MiB', '--snap', '2000'], () =>
      scene.send({ count: 2_000, rate: 20_000, bytes: 1_400 }),
    );
    expect(statSync(path).size).toBeLessThanOrEqual(1024 ** 2);
    const { packets, statistics } = ofFile();
    expect(sized?.written).toBe(packets.length);
    expect(packets.length).toBeGreaterThan(500);
    expect(statistics[0]).toMatchObject({ received: sized?.received, delivered: packets.length });
  });

  it('when the reader of its output goes', async () => {
    await using capture = await CaptureProcess.start([...near(), '--filter', UDP, '-w', '-'], 'head -c 2000');
    await eventually(() => scene.send({ count: 100 }) > 0);
    const { code, stderr, counts } = await capture.ended();
    expect(stderr).toContain('ended because standard output: the reader has gone');
    expect(code).toBe(0);
    expect(counts?.left).toBeGreaterThan(0);
    expect((counts?.written ?? 0) + (counts?.left ?? 0)).toBe(counts?.received);
  });

  it('when the reader of its output does not read', async () => {
    const args = [...near(), '--filter', `${UDP} and outbound`, '--snap', '1500', '-w', '-'];
    // Ends when the capture closes the pipe.
    const idle = `python3 -c 'import select; poll = select.poll(); poll.register(0, select.POLLHUP); poll.poll()'`;
    await using capture = await CaptureProcess.start(args, idle);
    const sent = scene.send({ count: 20_000, rate: 50_000, bytes: 1_400 });
    capture.kill('SIGINT');
    const { code, stderr, counts } = await capture.ended();
    expect([code, stderr]).toEqual([1, expect.stringContaining('the reader does not read')]);
    const { received = 0, written = 0, lost = 0, left = 0 } = counts ?? {};
    expect(received).toBe(sent);
    expect(written + lost + left).toBe(sent);
    // The ring buffer has room for some 10,000 of these packets.
    expect(lost).toBeGreaterThan(0);
  });

  it('into a pipe that tcpdump reads while it runs', async () => {
    const text = `${path}.text`;
    const args = [...near(), '--filter', UDP, '--count', '6', '-w', '-'];
    await using capture = await CaptureProcess.start(args, `tcpdump -l -n -r - > ${text}`);
    for (const half of [3, 6]) {
      scene.send({ count: 3 });
      await eventually(() => expect(readFileSync(text, 'utf8').match(/UDP, length 100/g) ?? []).toHaveLength(half));
    }
    expect(await capture.ended()).toMatchObject({ code: 0, counts: { received: 6, written: 6, lost: 0, left: 0 } });
  });

  it('when the disk is full: the file ends with a complete packet, and the others are counted', async () => {
    const disk = join(folder.path, 'disk');
    mkdirSync(disk);
    sh(`mount -t tmpfs -o size=512k tmpfs ${disk}`);
    try {
      path = join(disk, 'full.pcapng');
      await using capture = await CaptureProcess.start([...near(), '--filter', UDP, '--snap', '2000', '-w', path]);
      scene.send({ count: 1_000, rate: 20_000, bytes: 1_400 });
      const { code, stderr, counts } = await capture.ended();
      expect([code, stderr]).toEqual([1, expect.stringContaining('the disk is full')]);
      const { packets } = ofFile();
      expect(packets.length).toBeGreaterThan(100);
      expect(counts?.written).toBe(packets.length);
      expect(counts?.left).toBe((counts?.received ?? 0) - packets.length - (counts?.lost ?? 0));
    } finally {
      sh(`umount ${disk}`);
    }
  });

  it('when the devices of the namespace are gone', async () => {
    using ending = new CaptureScene();
    await using capture = await CaptureProcess.start(['--netns', ending.near.name, '-w', path]);
    ending.send({ count: 3 });
    ending.near.ip('link del eth0');
    const { code, stderr } = await capture.ended();
    expect([code, stderr]).toEqual([0, expect.stringContaining(`the network devices of ${ending.near.name} are gone`)]);
    expect(ofFile().statistics).toHaveLength(1);
  });

  it('leaves nothing behind when it is killed', async () => {
    const before = packetSockets(scene.near);
    await using capture = await CaptureProcess.start([...near(), '-w', path]);
    expect(packetSockets(scene.near)).toHaveLength(before.length + 1);
    capture.kill('SIGKILL');
    await capture.ended();
    await eventually(() => expect(packetSockets(scene.near)).toEqual(before));
  });
});

describe.skipIf(lacks('tcpdump'))('a capture that cannot start', () => {
  const refused = async (args: readonly string[], wrapper: readonly string[] = []) => {
    await using capture = await CaptureProcess.start(args, undefined, wrapper);
    const { code, stderr } = await capture.ended();
    expect(code).toBe(1);
    return stderr.trim();
  };

  it('reports the reason', async () => {
    const target = [...near(), '-w', path];
    expect(await refused([...target, '--filter', 'udp prt 7'])).toBe(
      "netsonde: can't parse filter expression: syntax error",
    );
    expect(await refused(['--netns', 'no such', '-w', path])).toBe(
      'netsonde: --netns no such: no such namespace in /run/netns',
    );
    expect(await refused(['--pid', '4194304', '-w', path])).toMatch(/process 4194304 does not exist/);
    expect(await refused([...near(), '-w', folder.path])).toMatch(/EISDIR/);
    expect(await refused([...near(), '-w', '/dev/null'])).toMatch(/not a regular file/);
    execFileSync('ln', ['-s', 'elsewhere', `${path}.link`]);
    expect(await refused([...near(), '-w', `${path}.link`])).toMatch(/symbolic link/);
  });

  it.each(['sys_admin', 'net_raw'])('names the missing capability %s, and the set that has it', async (missing) => {
    const wrapper = ['setpriv', `--bounding-set=-${missing}`, `--inh-caps=-${missing}`];
    const reason = await refused([...near(), '-w', path], wrapper);
    expect(reason).toContain(`CAP_${missing.toUpperCase()} is needed`);
    expect(reason).toContain('the set `tools`');
  });

  it('needs libpcap only for filters', async () => {
    const [library = ''] = /\S*\/libpcap\.so\.0\.8$/m.exec(run('ldconfig', '-p')) ?? [];
    const hide = 'mount --bind /dev/null "$(realpath "$0")" && exec "$@"';
    const wrapper = ['unshare', '--mount', 'sh', '-c', hide, library];
    expect(await refused([...near(), '--filter', UDP, '-w', path], wrapper)).toContain('libpcap cannot be loaded: ');
    await using capture = await CaptureProcess.start([...near(), '--count', '1', '-w', path], undefined, wrapper);
    scene.send({ count: 1 });
    expect(await capture.ended()).toMatchObject({ code: 0, counts: { written: 1 } });
  });

  it('needs no agent, and says that none has recorded the use', async () => {
    const args = [...near(), '--url', 'http://127.0.0.1:1', '--count', '1', '-w', path];
    await using capture = await CaptureProcess.start(args);
    scene.send({ count: 1 });
    const reason = 'no agent has recorded this use: cannot connect to the agent at 127.0.0.1:1';
    expect(await capture.ended()).toMatchObject({ code: 0, stderr: expect.stringContaining(reason) });
    expect(textOf(ofFile().section, 1)).toContain(reason);
  });

  it('needs only one capability for the namespace that it runs in', async () => {
    const wrapper = ['setpriv', '--bounding-set=-all,+net_raw', '--inh-caps=-all,+net_raw'];
    const args = ['--node', '--for', '1s', '-w', path];
    await using capture = await CaptureProcess.start(args, undefined, wrapper);
    expect((await capture.ended()).code).toBe(0);
  });

  it('needs no other capability', async () => {
    const sets = '-all,+sys_admin,+net_raw';
    const wrapper = ['setpriv', `--bounding-set=${sets}`, `--inh-caps=${sets}`];
    await using capture = await CaptureProcess.start([...near(), '--count', '1', '-w', path], undefined, wrapper);
    scene.send({ target: NEAR, count: 1 });
    expect(await capture.ended()).toMatchObject({ code: 0, counts: { written: 1 } });
  });
});
