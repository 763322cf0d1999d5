import { deepEqual, equal, match } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CaptureProcess, CaptureScene, FAR, PORT } from '../../support/capture_scene.ts';
import { readPcapng } from '../../support/pcapng_file.ts';
import { defineChecks } from '../check.ts';
import { type Features, kernelFeatures } from '../features.ts';

const COOKED_BYTES = 20;
/** IPv4 and UDP header. */
const HEADERS = 28;
const COUNT = 50;

interface Context {
  readonly scene: CaptureScene;
  readonly path: string;
  readonly features: Features;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const folder = resources.use(await mkdtempDisposable(join(tmpdir(), 'capture-')));
  return { scene: resources.use(new CaptureScene()), path: join(folder.path, 'file'), features: kernelFeatures() };
}

/** Captures what reaches the namespace `far`, where no socket receives it. */
async function captured({ scene, path }: Context, args: readonly string[]) {
  await using capture = await CaptureProcess.start(['--netns', scene.far.name, '-w', path, ...args]);
  scene.send({ target: FAR, count: COUNT, bytes: 200 });
  capture.kill('SIGINT');
  const { code, counts, stderr } = await capture.ended();
  equal(code, 0, stderr);
  deepEqual(counts, { received: COUNT, written: COUNT, lost: 0, left: 0 });
  const { packets } = readPcapng(readFileSync(path));
  deepEqual(
    packets.map(({ bytes }) => bytes.subarray(COOKED_BYTES + HEADERS)),
    Array.from({ length: COUNT }, (_, number) => Buffer.alloc(200, number)),
  );
  return { packets, stderr };
}

export const capture = defineChecks('capture', open, {
  'packets have the bytes that were sent, and are counted exactly': async (context) => {
    await captured(context, ['--filter', `udp dst port ${PORT}`]);
  },
  'dropped packets have their bytes, and the reason if the kernel gives one': async (context) => {
    const { packets } = await captured(context, ['--drops', '--snap', '300']);
    const reason = context.features.dropReasons ? 'NO_SOCKET in \\w+' : 'unknown in \\w+';
    for (const { comment } of packets) match(comment ?? '', new RegExp(`^${reason}, ${context.scene.far.name} eth0$`));
  },
});
