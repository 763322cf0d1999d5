import { fileURLToPath } from 'node:url';
import { surveyWallClock } from './wall_clock.ts';

/** Prints how many places read the wall clock. Fails if a place is not listed. */

const { files, reads, violations } = surveyWallClock(fileURLToPath(new URL('..', import.meta.url)));
for (const violation of violations) console.error(violation);
console.log(`wall clock: ${files} files, ${reads} reads, ${violations.length} violations`);
if (violations.length > 0) process.exitCode = 1;
