import { it } from 'vitest';
import { FAULTS } from '../support/lan/faults.ts';
import { lacksApplications } from '../support/lan/programs.ts';
import { checkSilence } from '../support/lan/silence.ts';

it.skipIf(lacksApplications())(
  'real traffic between namespaces: nothing is lost and nothing reported; a fault is reported for both ends',
  () => checkSilence({ seconds: 15, share: 0.1, faults: FAULTS.slice(0, 1) }),
  300_000,
);
