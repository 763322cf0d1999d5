import { expect, it } from 'vitest';
import { sampleValue } from '../support/exposition.ts';
import { PRESSED, runFlows } from '../support/flow_run.ts';
import { FlowTraffic } from '../support/flow_traffic.ts';

const RESTS = 300;
const RESTARTS = [75, 150, 225];

it(`flows are exact at ${RESTS} moments at rest, with fewer rows than keys, evictions and restarts`, async () => {
  await using traffic = await FlowTraffic.start({ seed: String(process.pid) });
  const { violations, last, ...figures } = await runFlows({
    ...PRESSED,
    traffic,
    rests: RESTS,
    scrapers: 5,
    restarts: RESTARTS,
  });
  const { sums: _, ...shown } = figures;
  process.stdout.write(`${JSON.stringify(shown)}\n`);
  expect(violations).toEqual([]);
  expect(sampleValue(last, 'netsonde_flow_evicted_rows_total', {})).toBeGreaterThan(0);
}, 3_600_000);
