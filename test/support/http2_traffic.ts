import { fileURLToPath } from 'node:url';
import { run } from './command.ts';
import type { TestNetns } from './hosts.ts';
import { type Answers, HttpProcess } from './http_traffic.ts';

const PROGRAM = fileURLToPath(new URL('./http2_peer.ts', import.meta.url));

function inside({ name }: TestNetns, args: readonly (string | number)[]): string[] {
  return ['netns', 'exec', name, process.execPath, PROGRAM, ...args.map(String)];
}

/** Runs `load` or `call` of http2_peer.ts in a namespace. Returns the answers as the client has counted them. */
export function runHttp2(netns: TestNetns, ...args: readonly (string | number)[]): Answers {
  return JSON.parse(run('ip', ...inside(netns, args))) as Answers;
}

/** Runs `serve` of http2_peer.ts, or `call` with `wait`, until it is disposed. */
export function startHttp2(netns: TestNetns, ...args: readonly (string | number)[]): Promise<HttpProcess> {
  return HttpProcess.run(netns, inside(netns, args));
}
