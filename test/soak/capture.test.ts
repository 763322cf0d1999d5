import { readFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CaptureProcess, CaptureScene, FAR, PORT, SILENT } from '../support/capture_scene.ts';
import { readPcapng } from '../support/pcapng_file.ts';

const SECONDS = 2;
const RATES = [1_000, 20_000, 100_000];
const BYTES = 1_200;
/** Cooked header, and the header of IPv4 and UDP. */
const FRONT = { cooked: 20, headers: 28 } as const;

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let scene: CaptureScene;
beforeAll(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), 'capture-'));
  scene = new CaptureScene();
  scene.far.exec('nft add table inet filter');
  scene.far.exec('nft add chain inet filter input { type filter hook input priority 0 ; }');
  scene.far.exec(`nft add rule inet filter input udp dport ${PORT} drop`);
});
afterAll(async () => {
  scene[Symbol.dispose]();
  await folder.remove();
});

const KINDS = {
  packets: { args: () => ['--netns', scene.near.name], target: SILENT, snaps: [64, 256, 1_024, 4_096] },
  drops: { args: () => ['--netns', scene.far.name, '--drops'], target: FAR, snaps: [64, 128, 1_024, 2_048] },
} as const;
const CASES = (['packets', 'drops'] as const).flatMap((kind) =>
  KINDS[kind].snaps.flatMap((snap) => RATES.map((rate) => ({ kind, snap, rate }))),
);

it.each(CASES)('$rate $kind a second at $snap bytes: each is in the file, or counted as lost', async (given) => {
  const { kind, snap, rate } = given;
  const { args, target } = KINDS[kind];
  const path = join(folder.path, 'file');
  const filter = kind === 'packets' ? ['--filter', `udp dst port ${PORT} and outbound`] : [];
  await using capture = await CaptureProcess.start([
    ...args(),
    ...filter,
    '--snap',
    String(snap),
    '--max',
    '1GiB',
    '--for',
    '5m',
    '-w',
    path,
  ]);
  const sent = scene.send({ target, count: SECONDS * rate, rate, bytes: BYTES });
  capture.kill('SIGINT');
  const { code, counts, stderr } = await capture.ended();
  const { packets, statistics } = readPcapng(readFileSync(path));
  const lost = sent - packets.length;
  process.stderr.write(`${kind}, ${rate}/s, snap ${snap}: ${sent} sent, ${lost} lost\n`);
  expect(code, stderr).toBe(0);
  expect(counts).toEqual({ received: sent, written: packets.length, lost, left: 0 });
  expect(statistics).toEqual([{ interface: 0, received: sent, dropped: lost, delivered: packets.length }]);
  const captured = FRONT.cooked + Math.min(snap, FRONT.headers + BYTES);
  const length = FRONT.cooked + FRONT.headers + BYTES;
  expect(packets.filter((packet) => packet.bytes.length !== captured || packet.length !== length)).toEqual([]);
});
