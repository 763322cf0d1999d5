import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BpfObject, BpfRing } from 'bpf-napi';
import { median, type Row } from './measure.ts';
import { benchRingRates } from './ring_rates.ts';

const ADDON = fileURLToPath(new URL('../bpf-napi', import.meta.url));
const RECORD_BYTES = 128;
const RING_BYTES = 4 * 1024 * 1024;
/** Number of records that fit into the ring. Each has a header of eight bytes. */
const RECORDS = Math.floor(RING_BYTES / (RECORD_BYTES + 8)) - 1;
const RUNS = 40;
const NEVER_MS = 2 ** 30;

/**
 * Measures the CPU time of reading event-sized records from a ring into JavaScript: first from a full ring, then at
 * several rates.
 */
export async function benchRing(): Promise<Row[]> {
  return [...(await benchFullRing()), ...(await benchRingRates())];
}

async function benchFullRing(): Promise<Row[]> {
  execFileSync('make', ['-s', '-C', ADDON, 'test-objects'], {
    env: { ...process.env, PATH: `${process.execPath.replace(/\/[^/]+$/, '')}:${process.env['PATH']}` },
  });
  using object = await BpfObject.open(`${ADDON}/build/test/ring.bpf.o`);
  object.map('records').resize(RING_BYTES);
  await object.load();
  let taken = 0;
  using ring = new BpfRing(object, 'records', {
    recordBytesMax: 256,
    intervalMs: NEVER_MS,
    bufferBytes: 256 * 1024,
    onBatch: ({ view, forEach }) => {
      forEach((at) => {
        taken += view.getUint32(at + 4, true) === RECORD_BYTES ? 1 : Number.NaN;
      });
    },
    onError: (error) => {
      throw error;
    },
  });
  const rates: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const lost = object.run('emit', BigUint64Array.of(BigInt(RECORDS), BigInt(RECORD_BYTES)));
    taken = 0;
    const start = process.cpuUsage();
    while (ring.drain() > 0);
    const { user, system } = process.cpuUsage(start);
    if (taken + lost !== RECORDS) throw new Error(`${taken} taken and ${lost} lost of ${RECORDS} records`);
    rates.push(taken / ((user + system) / 1e6));
  }
  const bench = `a ring of ${RECORDS} records of ${RECORD_BYTES} bytes`;
  return [
    {
      bench,
      what: 'drained per second of CPU (median)',
      value: median(rates),
      unit: 'records',
      bound: { atLeast: 200_000 },
    },
    { bench, what: 'CPU for 100,000 (median)', value: 1e8 / median(rates), unit: 'ms' },
  ];
}
