import { fileURLToPath } from 'node:url';
import { surveyFloors } from './floors.ts';

/** Fails if an import of src/ points up, closes a circle, or leaves its room by path; prints its counts. */

const { files, imports, violations, circles } = surveyFloors(fileURLToPath(new URL('../src', import.meta.url)));
for (const violation of violations) console.error(violation);
for (const circle of circles) console.error(`a circle of ${circle.length} files: ${circle.join(', ')}`);
console.log(
  `floors: ${files.length} files, ${imports.length} imports, ${violations.length} violations, ${circles.length} circles`,
);
if (violations.length + circles.length > 0) process.exitCode = 1;
