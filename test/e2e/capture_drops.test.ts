import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { CaptureProcess, CaptureScene, FAR, PORT } from '../support/capture_scene.ts';
import { run } from '../support/command.ts';
import { startPython } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { readPcapng, textOf } from '../support/pcapng_file.ts';
import { lacks } from '../support/programs.ts';

const COOKED_BYTES = 20;
/** IPv4 and UDP header. */
const HEADERS = 28;
const CLOSED = PORT + 1;
const SNAP_MAX = 2_048;

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let scene: CaptureScene;
let path: string;
let made = 0;
beforeAll(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), 'capture-drops-'));
  scene = new CaptureScene();
  scene.far.exec('nft add table inet filter');
  scene.far.exec('nft add chain inet filter input { type filter hook input priority 0 ; }');
  scene.far.exec(`nft add rule inet filter input udp dport ${PORT} drop`);
  scene.near.exec('nft add table inet filter');
  scene.near.exec('nft add chain inet filter output { type filter hook output priority 0 ; }');
  scene.near.exec(`nft add rule inet filter output tcp dport ${PORT} meta length > 20000 drop`);
});
afterAll(async () => {
  scene[Symbol.dispose]();
  await folder.remove();
});
beforeEach(() => {
  path = join(folder.path, `${made++}.pcapng`);
});

const ofFile = () => readPcapng(readFileSync(path));
const far = () => ['--netns', scene.far.name];

async function during(args: readonly string[], act: () => unknown) {
  await using capture = await CaptureProcess.start(['--drops', '-w', path, ...args]);
  await act();
  capture.kill('SIGINT');
  return await capture.ended();
}

describe.skipIf(lacks('tcpdump'))('a capture of drops', () => {
  it('has exactly the packets that the metric counts, with reason, function and device', async () => {
    const config = join(folder.path, 'config.yaml');
    writeFileSync(config, only({ packetloss: true }));
    await using agent = await AgentProcess.serve(['--config', config]);
    const counted = async () => {
      const { samples } = await agent.page();
      const isOfPod = ({ name, labels }: (typeof samples)[number]) =>
        name === 'netsonde_packet_drops_total' && labels['pod'] === scene.far.name;
      return samples.filter(isOfPod).reduce((sum, { value }) => sum + Number(value), 0);
    };
    await eventually(async () => {
      const { entities } = await agent.json<{ entities: readonly { pod: string }[] }>('/api/v1/entities');
      expect(entities.map(({ pod }) => pod)).toContain(scene.far.name);
    });
    const { counts } = await during([...far(), '--snap', String(SNAP_MAX)], () => {
      scene.send({ target: FAR, count: 200, bytes: 1_000 });
      scene.send({ target: FAR, count: 3, bytes: 50, port: CLOSED });
    });
    expect(counts).toEqual({ received: 203, written: 203, lost: 0, left: 0 });
    await eventually(async () => expect(await counted()).toBe(203));
    const { packets, interfaces, statistics } = ofFile();
    expect(packets.slice(0, 200).map(({ bytes }) => bytes.subarray(COOKED_BYTES + HEADERS))).toEqual(
      Array.from({ length: 200 }, (_, number) => Buffer.alloc(1_000, number)),
    );
    expect(packets.every(({ bytes, length }) => bytes.length === length)).toBe(true);
    const place = `${scene.far.name} eth0`;
    expect(packets[0]?.comment).toMatch(new RegExp(`^NETFILTER_DROP in nf(t_do_chain|_hook_slow).*, ${place}$`));
    expect(packets[202]?.comment).toMatch(new RegExp(`^NO_SOCKET in \\w*udp\\w*, ${place}$`));
    expect(interfaces.map(({ options }) => [textOf(options, 2), textOf(options, 3)])).toEqual([
      ['eth0', scene.far.name],
    ]);
    expect(statistics).toEqual([{ interface: 0, received: 203, dropped: 0, delivered: 203 }]);
    expect(run('tcpdump', '-nr', path).match(/UDP, length (1000|50)/g)).toHaveLength(203);
  });

  it('has the bytes of page fragments', async () => {
    const sent = randomBytes(200_000);
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
    const { counts, stderr } = await during(['--netns', scene.near.name, '--snap', String(SNAP_MAX)], () =>
      scene.near.python(`
import os, socket
with socket.create_connection(('${FAR}', ${PORT})) as client, open('${source}', 'rb') as file:
    client.sendfile(file)
`),
    );
    const { packets } = ofFile();
    expect(counts?.written).toBe(packets.length);
    expect(packets.length).toBeGreaterThan(0);
    const hasPages = !stderr.includes('page fragments are missing');
    for (const { bytes, length, comment } of packets) {
      const segment = bytes.subarray(COOKED_BYTES);
      const payload = segment.subarray(20 + ((segment[32] ?? 0) >> 4) * 4);
      expect(length).toBeGreaterThan(20_000);
      expect(comment).toMatch(/, stands for \d+ segments of \d+ bytes$/);
      // The position in the stream is not known, because the SYN was not dropped.
      expect(payload.length === 0 || sent.includes(payload)).toBe(true);
      if (hasPages) expect(segment).toHaveLength(SNAP_MAX);
    }
  });

  it('counts exactly at 20,000 drops a second, and filters', async () => {
    let sent = 0;
    const args = [...far(), '--filter', `udp dst port ${PORT} and udp[8] < 16`, '--snap', '64'];
    const { counts } = await during(args, () => {
      sent = scene.send({ target: FAR, count: 25_600, rate: 20_000 });
    });
    const { packets } = ofFile();
    // The first byte of a datagram is its number modulo 256.
    expect(sent).toBe(25_600);
    expect(counts).toEqual({ received: 1_600, written: 1_600, lost: 0, left: 0 });
    expect(packets.map(({ bytes }) => bytes[COOKED_BYTES + HEADERS])).toEqual(
      Array.from({ length: 1_600 }, (_, number) => number % 16),
    );
    for (const { bytes, length } of packets) expect([bytes.length, length]).toEqual([64 + 20, 100 + HEADERS + 20]);
  });

  it('has only the packets of its namespaces, and ends at its limit', async () => {
    using other = new CaptureScene();
    await using capture = await CaptureProcess.start([...far(), '--drops', '--count', '5', '-w', path]);
    other.send({ target: FAR, count: 5, port: CLOSED });
    scene.send({ target: FAR, count: 9 });
    const { code, counts } = await capture.ended();
    expect([code, counts?.written]).toEqual([0, 5]);
    expect(ofFile().packets).toHaveLength(5);
    expect(new Set(ofFile().packets.map(({ comment }) => comment?.includes(scene.far.name)))).toEqual(new Set([true]));
  });

  it('names missing capabilities, and the set that has them', async () => {
    const under = (sets: string) => ['setpriv', `--bounding-set=${sets}`, `--inh-caps=${sets}`];
    for (const [target, sets] of [
      [far(), '-all,+sys_admin'],
      [['--node'], '-all,+bpf,+perfmon'],
    ] as const) {
      const args = [...target, '--drops', '--for', '1s', '-w', path];
      await using enough = await CaptureProcess.start(args, undefined, under(sets));
      expect((await enough.ended()).code).toBe(0);
    }
    const args = ['--node', '--drops', '-w', path];
    for (const [sets, missing] of [
      ['-all', 'CAP_BPF'],
      ['-all,+bpf', 'CAP_PERFMON'],
    ] as const) {
      await using refused = await CaptureProcess.start(args, undefined, under(sets));
      const { code, stderr } = await refused.ended();
      expect(code).toBe(1);
      expect(stderr).toContain(missing);
      expect(stderr).toContain('the set `tools`');
    }
  });
});
