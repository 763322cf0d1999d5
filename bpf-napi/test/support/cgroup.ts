import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestNamespace } from './namespace.ts';

let made = 0;

/** Returns the mount point of the v2 hierarchy. Some machines only have v2, others have both versions. */
function mountOfVersion2(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const mount = mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2')?.[1];
  if (mount === undefined) throw new Error('no cgroup2 is mounted');
  return mount;
}

/** Sends the given number of one-byte datagrams to itself, and exits after receiving all of them. */
const TRAFFIC = `
  const socket = require('node:dgram').createSocket('udp4');
  let missing = Number(process.argv[1]);
  socket.on('message', () => { if (--missing === 0) socket.close(); });
  socket.bind(0, '127.0.0.1', () => {
    for (let i = missing; i > 0; i--) socket.send('x', socket.address().port, '127.0.0.1');
  });`;

/** A cgroup for a test. */
export class TestCgroup implements Disposable {
  readonly path = join(mountOfVersion2(), `bpf-napi-${process.pid}-${made++}`);

  constructor() {
    mkdirSync(this.path);
  }

  /** Runs a process in the cgroup that sends datagrams to itself in the namespace, and waits for it to end. */
  traffic({ name }: TestNamespace, datagrams: number): void {
    const enter = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"';
    const command = ['ip', 'netns', 'exec', name, process.execPath, '--eval', TRAFFIC, String(datagrams)];
    execFileSync('sh', ['-c', enter, 'sh', this.path, ...command], { timeout: 20_000 });
  }

  [Symbol.dispose](): void {
    rmdirSync(this.path);
  }
}
