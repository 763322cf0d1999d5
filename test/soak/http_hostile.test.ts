import { it } from 'vitest';
import { expectOthersExact } from '../support/hostile_http.ts';

const RATE = 10_000;
const SECONDS = 60;

it(`counts of others are exact while a Pod opens up to ${RATE} connections a second with headers of 64 kB`, async () => {
  const rate = await expectOthersExact(RATE * SECONDS, SECONDS);
  process.stdout.write(`${rate.toFixed(0)} hostile connections a second\n`);
}, 1_200_000);
