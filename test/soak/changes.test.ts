import { it } from 'vitest';
import { checkQuietNetwork } from '../support/quiet_network.ts';

/** Length of the run; the environment variable QUIET_MINUTES overrides it. */
const MINUTES = Number(process.env['QUIET_MINUTES'] ?? 60);

it(
  `${MINUTES} minutes of a quiet network have no event of the probe changes, and a link that goes down afterwards has one`,
  { timeout: (MINUTES + 5) * 60_000 },
  () => checkQuietNetwork(MINUTES * 60),
);
