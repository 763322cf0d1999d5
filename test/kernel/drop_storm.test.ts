import { it } from 'vitest';
import { checkDropStorm } from '../support/drop_storm.ts';

const PACKETS = 100_000;

it(`${PACKETS} drops each way on one CPU are counted to the packet, and the ledger balances`, () =>
  checkDropStorm(PACKETS));
