import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Leaves a file alone that is as it should be: what is built from it stays newer. */
export function writeGenerated(file: URL, text: string): void {
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}
