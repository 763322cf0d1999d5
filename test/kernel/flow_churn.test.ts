import { it } from 'vitest';
import { checkFlowChurn } from '../support/flow_churn.ts';

/** Number of namespaces. `npm run test:soak` uses 500. */
const PODS = 30;

it(`${PODS} namespaces that come and go have exact totals at their end, and leave nothing behind`, () =>
  checkFlowChurn(PODS));
