import { it } from 'vitest';
import { FAULTS } from '../support/lan/faults.ts';
import { lacksApplications } from '../support/lan/programs.ts';
import { checkSilence } from '../support/lan/silence.ts';

/** Length of the run. The environment variable SILENCE_MINUTES overrides it. Even a short run detects some failures. */
const MINUTES = Number(process.env['SILENCE_MINUTES'] ?? 30);

const write = (report: object) => void process.stdout.write(`${JSON.stringify(report, null, 1)}\n`);

it.skipIf(lacksApplications())(
  `${MINUTES} minutes of real traffic between forty namespaces: nothing is lost and nothing reported; then twelve faults, and nothing else is reported`,
  { timeout: (MINUTES + 15) * 60_000 },
  () => checkSilence({ seconds: MINUTES * 60, share: 1, faults: FAULTS, write }),
);
