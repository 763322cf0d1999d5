import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestNamespace } from './namespace.ts';

let made = 0;

/** Returns the mount point of the v2 hierarchy. Some machines mount only v2, others both versions. */
function mountOfVersion2(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const mount = mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2')?.[1];
  if (mount === undefined) throw new Error('no cgroup2 is mounted');
  return mount;
}

/** Script that sends the given number of one-byte datagrams to itself, and exits once all of them have arrived. */
const TRAFFIC = `
  const socket = require('node:dgram').createSocket('udp4');
  let missing = Number(process.argv[1]);
  socket.on('message', () => { if (--missing === 0) socket.close(); });
  socket.bind(0, '127.0.0.1', () => {
    for (let i = missing; i > 0; i--) socket.send('x', socket.address().port, '127.0.0.1');
  });`;

/**
 * Script that attaches a program to a cgroup without BPF_F_ALLOW_MULTI, so that no other program can be attached to the
 * same hook. The program remains attached until the cgroup is removed. Kernel: include/uapi/linux/bpf.h,
 * BPF_PROG_GET_FD_BY_ID, BPF_PROG_ATTACH.
 */
const ATTACH_ALONE = `
import ctypes, os, platform, struct, sys
number = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, *words):
    attributes = struct.pack(f'{len(words)}I', *words).ljust(128, b'\\0')
    result = libc.syscall(number, command, attributes, len(attributes))
    if result < 0: raise OSError(ctypes.get_errno(), 'bpf')
    return result
cgroup = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
bpf(8, cgroup, bpf(13, int(sys.argv[2]), 0, 0), int(sys.argv[3]), 0)`;

/** Kernel: include/uapi/linux/bpf.h, BPF_CGROUP_INET_EGRESS. */
const EGRESS = 1;

/** A cgroup for a test. */
export class TestCgroup implements Disposable {
  readonly path: string;

  constructor(parent = mountOfVersion2()) {
    this.path = join(parent, `bpf-napi-${process.pid}-${made++}`);
    mkdirSync(this.path);
  }

  /** Runs a process in the cgroup and the namespace until it exits. The process sends datagrams to itself. */
  traffic({ name }: TestNamespace, datagrams: number): void {
    const enter = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"';
    const command = ['ip', 'netns', 'exec', name, process.execPath, '--eval', TRAFFIC, String(datagrams)];
    execFileSync('sh', ['-c', enter, 'sh', this.path, ...command], { timeout: 20_000 });
  }

  /** Attaches a loaded egress program exclusively. The cgroup then accepts no other egress program. */
  attachAlone(programId: number): void {
    execFileSync('python3', ['-c', ATTACH_ALONE, this.path, String(programId), String(EGRESS)]);
  }

  [Symbol.dispose](): void {
    rmdirSync(this.path);
  }
}
