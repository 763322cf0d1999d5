import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

/**
 * Returns a PATH on which `python3` is the interpreter itself, without the machine's packages. With a version manager,
 * `python3` is a script that searches for the interpreter, and packages may run code whenever Python starts. Together,
 * they take 0.2 s of CPU time instead of 0.015 s, and tests start Python hundreds of times. All other programs are found
 * as before. The virtual environment that this needs is removed when this process exits.
 */
export function pathOfInterpreter(path: string): string {
  if (!path.split(delimiter).some((folder) => existsSync(join(folder, 'python3')))) return path;
  // In a virtual environment, this is the interpreter from which it was made.
  const program = 'import sys; print(sys._base_executable)';
  const interpreter = execFileSync('python3', ['-c', program], { encoding: 'utf8' }).trim();
  const folder = mkdtempSync(join(tmpdir(), 'netsonde-python-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  // Python reads this file (PEP 405).
  writeFileSync(join(folder, 'pyvenv.cfg'), `home = ${dirname(interpreter)}\ninclude-system-site-packages = false\n`);
  const programs = join(folder, 'bin');
  mkdirSync(programs);
  symlinkSync(interpreter, join(programs, 'python3'));
  return [programs, path].join(delimiter);
}
