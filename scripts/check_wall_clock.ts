import { fileURLToPath } from 'node:url';
import { surveyWallClock } from './wall_clock.ts';

/** Prints the number of places that read the wall clock. Fails if one of them is not listed. */

const { files, reads, violations } = surveyWallClock(fileURLToPath(new URL('..', import.meta.url)));
for (const violation of violations) console.error(violation);
console.log(`wall clock: ${files} files, ${reads} reads, ${violations.length} violations`);
if (violations.length > 0) process.exitCode = 1;
