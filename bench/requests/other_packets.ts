import { BpfStats } from 'bpf-napi';
import { only, probesOf, type TestKernel } from '../../test/support/kernel.ts';
import { median, type Row, spreadOf } from '../measure.ts';
import { attachEmptyPair } from './empty_pair.ts';
import { DIRECTIONS, RunTimes } from './run_times.ts';
import type { Traffic } from './traffic.ts';

const WINDOWS = 10;
/** Nanoseconds that `dns` may add to a packet that is not DNS. */
const LIMIT = 15;

/**
 * Measures what `dns` alone adds to a packet that is not DNS. Its programs run between two pairs of empty programs, and
 * all of them are loaded again for each window, because the place of a program in the CPU's caches changes its time by
 * more than what is measured.
 */
export async function measureOtherPackets(
  agent: TestKernel,
  empty: string,
  traffic: Traffic,
  flood: () => Promise<void>,
): Promise<Row[]> {
  using _stats = new BpfStats();
  const loads = { 'TCP, HTTP requests': () => traffic.play('kept', 20_000), 'UDP, datagrams of 32 bytes': flood };
  const windows = new Map<string, RunTimes[]>();
  for (let window = 0; window < WINDOWS; window++) {
    await agent.kernel.configure(probesOf(only({})));
    using first = await attachEmptyPair(empty);
    await agent.kernel.configure(probesOf(only({ dns: { enabled: true } })));
    using last = await attachEmptyPair(empty);
    for (const [load, play] of Object.entries(loads)) {
      const before = RunTimes.of(agent, [first, last]);
      await play();
      windows.set(load, [...(windows.get(load) ?? []), RunTimes.of(agent, [first, last]).since(before)]);
    }
  }
  return [...windows].flatMap(([load, times]) =>
    DIRECTIONS.map((direction) => {
      const base = median(times.map((time) => time.each(`empty_${direction}`)));
      const values = times.map((time) => time.each(`l7_${direction}`) - time.each(`empty_${direction}`));
      return {
        bench: `requests: a packet that is not DNS, with dns alone, median of ${WINDOWS} windows`,
        what: `${load}: ${direction}, above an empty program of ${base.toFixed(0)} ns`,
        value: median(values),
        unit: 'ns',
        spread: spreadOf(values),
        bound: { atMost: LIMIT },
      };
    }),
  );
}
