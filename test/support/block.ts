import { mkdirSync, readFileSync, rmdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { sh } from './command.ts';
import { uniqueName } from './hosts.ts';

const MIB = 2 ** 20;

/** A loop device with direct I/O on a temporary file. Disposing removes the device and the file. */
export class LoopDevice implements Disposable {
  readonly path: string;
  readonly #file = `/var/tmp/${uniqueName('loop')}`;

  constructor() {
    writeFileSync(this.#file, '');
    try {
      truncateSync(this.#file, 16 * MIB);
      // Allocates the file's blocks now, because allocating them later would cause additional file-system I/O.
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

  /** Returns the kernel's counts of completed requests (kernel: Documentation/block/stat.rst). */
  done(): { reads: number; writes: number } {
    const cells = readFileSync(`/sys/block/${this.name}/stat`, 'utf8').trim().split(/\s+/).map(Number);
    return { reads: cells[0] ?? 0, writes: cells[4] ?? 0 };
  }

  [Symbol.dispose](): void {
    sh(`losetup -d ${this.path}`);
    rmSync(this.#file);
  }
}

/** Returns the device number of the disk that contains a file, such as `8:0`. */
export function diskOf(path: string): string {
  const { dev } = statSync(path);
  // glibc's makedev() packs the numbers in this way.
  return `${(dev >>> 8) & 0xfff}:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}`;
}

/** A cgroup (v1) that limits the writes per second to a disk. Disposing removes it. */
export class WriteThrottle implements Disposable {
  readonly #path = `/sys/fs/cgroup/blkio/${uniqueName('io')}`;

  constructor(disk: string, writesPerSecond: number) {
    mkdirSync(this.#path);
    writeFileSync(`${this.#path}/blkio.throttle.write_iops_device`, `${disk} ${writesPerSecond}`);
  }

  /** Path of the file to which a process writes its PID to join the cgroup. */
  get procs(): string {
    return `${this.#path}/cgroup.procs`;
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#path);
  }
}
