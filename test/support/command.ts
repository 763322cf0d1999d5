import { execFileSync } from 'node:child_process';

/** Runs a command and returns its output. @throws if it fails; the error contains its stderr */
export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** Runs a command line, which is split at spaces. @throws like `run` */
export function sh(line: string): string {
  const [command = '', ...args] = line.trim().split(/\s+/);
  return run(command, ...args);
}
