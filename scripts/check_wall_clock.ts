import { fileURLToPath } from 'node:url';
import { surveyWallClock } from './wall_clock.ts';

/** Fails where the wall clock is read outside of the places that are listed; prints what it counted. */

const { files, reads, violations } = surveyWallClock(fileURLToPath(new URL('..', import.meta.url)));
for (const violation of violations) console.error(violation);
console.log(`wall clock: ${files} files, ${reads} reads, ${violations.length} violations`);
if (violations.length > 0) process.exitCode = 1;
