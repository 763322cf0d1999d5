import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { READ, surveyWords } from './words.ts';

/**
 * Fails if a sentence breaks one of the rules in `scripts/words.ts`.
 *
 *   node scripts/check_words.ts [PATH]…   checks these files and directories instead of those listed in `READ`
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const files = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
const asked = process.argv.slice(2).map((path) => path.replace(/\/$/, ''));
const findings = surveyWords(root, files, asked.length > 0 ? asked : READ);
for (const { file, line, rule, sentence } of findings) {
  console.error(`${file}:${line}: ${rule.name}: "${sentence.slice(0, 100)}": ${rule.advice}`);
}
console.log(`words: ${findings.length} violations`);
if (findings.length > 0) process.exitCode = 1;
