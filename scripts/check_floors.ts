import { fileURLToPath } from 'node:url';
import { surveyFloors } from './floors.ts';

/**
 * Prints statistics about the imports in src/. Fails if an import refers to a higher floor, completes a cycle, or
 * refers to another directory of src/ by a relative path.
 */

const { files, imports, violations, circles } = surveyFloors(fileURLToPath(new URL('../src', import.meta.url)));
for (const violation of violations) console.error(violation);
for (const circle of circles) console.error(`a circle of ${circle.length} files: ${circle.join(', ')}`);
console.log(
  `floors: ${files.length} files, ${imports.length} imports, ${violations.length} violations, ${circles.length} circles`,
);
if (violations.length + circles.length > 0) process.exitCode = 1;
