import { Launcher } from './launcher.ts';

let launcher: Launcher | undefined;

/** Runs a command and returns its output. @throws if it fails; the error contains its stderr */
export function run(command: string, ...args: string[]): string {
  return runWith(undefined, command, ...args);
}

/** Like `run`, with a text as standard input. */
export function runWith(input: string | undefined, command: string, ...args: string[]): string {
  launcher ??= new Launcher();
  const { status, stdout, stderr } = launcher.run(command, args, input);
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')} failed with status ${status}\n${stderr}`);
  return stdout;
}

/** Runs a command line, which is split at spaces. @throws like `run` */
export function sh(line: string): string {
  const [command = '', ...args] = line.trim().split(/\s+/);
  return run(command, ...args);
}
