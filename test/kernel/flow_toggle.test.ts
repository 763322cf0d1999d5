import { afterAll, beforeAll, describe, it } from 'vitest';
import { SHARING, toggleOthers } from '../support/flow_toggle.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';

/** Number of toggles. `npm run test:soak` uses 200. */
const TOGGLES = 9;

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(only({}));
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

describe.each(SHARING)('%s', (kept) => {
  it('stays exact while the others are switched on and off under traffic', () =>
    toggleOthers({ pair, agent }, kept, TOGGLES));
});
