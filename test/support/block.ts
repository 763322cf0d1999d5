import { mkdirSync, readFileSync, rmdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { sh } from './command.ts';
import { uniqueName } from './hosts.ts';

const MIB = 2 ** 20;

/** A loop device over a temporary file, past the page cache; gone when disposed. */
export class LoopDevice implements Disposable {
  readonly path: string;
  readonly #file = `/var/tmp/${uniqueName('loop')}`;

  constructor() {
    writeFileSync(this.#file, '');
    try {
      truncateSync(this.#file, 16 * MIB);
      // The blocks are allocated beforehand: allocating them later would be the file system's own work.
      sh(`dd if=/dev/zero of=${this.#file} bs=1M count=16 conv=notrunc,fsync status=none`);
      this.path = sh(`losetup --find --show --direct-io=on ${this.#file}`).trim();
    } catch (error) {
      rmSync(this.#file);
      throw error;
    }
  }

  get name(): string {
    return basename(this.path);
  }

  /** Requests that the kernel has counted as done (kernel: Documentation/block/stat.rst). */
  done(): { reads: number; writes: number } {
    const cells = readFileSync(`/sys/block/${this.name}/stat`, 'utf8').trim().split(/\s+/).map(Number);
    return { reads: cells[0] ?? 0, writes: cells[4] ?? 0 };
  }

  [Symbol.dispose](): void {
    sh(`losetup -d ${this.path}`);
    rmSync(this.#file);
  }
}

/** `8:0` of the disk that a file is on. */
export function diskOf(path: string): string {
  const { dev } = statSync(path);
  // As glibc's makedev() packs them.
  return `${(dev >>> 8) & 0xfff}:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}`;
}

/** A control group (v1) with a limit of writes per second to a disk; gone when disposed. */
export class WriteThrottle implements Disposable {
  readonly #path = `/sys/fs/cgroup/blkio/${uniqueName('io')}`;

  constructor(disk: string, writesPerSecond: number) {
    mkdirSync(this.#path);
    writeFileSync(`${this.#path}/blkio.throttle.write_iops_device`, `${disk} ${writesPerSecond}`);
  }

  /** File into which a process writes its PID to join the group. */
  get procs(): string {
    return `${this.#path}/cgroup.procs`;
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#path);
  }
}
