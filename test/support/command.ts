import { execFileSync } from 'node:child_process';

/** Runs a command to its end and returns what it printed. @throws with its stderr where it fails */
export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** The same for a line without anything to quote. */
export function sh(line: string): string {
  const [command = '', ...args] = line.trim().split(/\s+/);
  return run(command, ...args);
}
