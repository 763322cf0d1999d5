import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/**
 * Returns a PATH on which `python3` is the interpreter itself. With a version manager, `python3` is a script that
 * searches for the interpreter. It takes 0.1 s of CPU time instead of 0.02 s, and tests start Python hundreds of times.
 * All other programs are found as before.
 */
export function pathOfInterpreter(path: string): string {
  const folders = path.split(delimiter);
  const at = folders.findIndex((folder) => existsSync(join(folder, 'python3')));
  if (at < 0) return path;
  const interpreter = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim();
  return folders.toSpliced(at, 0, dirname(interpreter)).join(delimiter);
}
