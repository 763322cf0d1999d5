import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BpfMap, BpfObject } from 'bpf-napi';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { DropReasons } from '#probes/packetloss/drop_reasons.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { KernelSymbols } from '#sources/procfs/kallsyms.ts';
import { OBJECTS } from '../kernel.ts';

const SOURCE = fileURLToPath(new URL('./frees.bpf.c', import.meta.url));

/** Packets that the kernel freed without delivering them. */
export interface Freed {
  /**
   * Inode number of the namespace. If neither the device nor the socket identifies the namespace, the subnet of the
   * source address.
   */
  readonly netns: number;
  readonly reason: string;
  /** Kernel function with offset. */
  readonly place: string;
  readonly count: number;
}

/** A BPF program that counts every freed packet on this machine, independently of the agent's code. */
export class FreesOracle implements Disposable {
  readonly #object: BpfObject;
  readonly #map: BpfMap;
  readonly #reasons: DropReasons;
  readonly #symbols = new KernelSymbols(DEFAULT_PATHS.proc);

  private constructor(object: BpfObject, reasons: DropReasons) {
    this.#object = object;
    this.#map = object.map('frees');
    this.#reasons = reasons;
  }

  /**
   * @param subnets range of the second address byte; packets from these addresses are counted by subnet if their
   * namespace is unknown
   */
  static async open(subnets: readonly [number, number]): Promise<FreesOracle> {
    const folder = mkdtempSync(join(tmpdir(), 'frees-'));
    try {
      const path = join(folder, 'frees.o');
      const headers = `-I/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;
      execFileSync('clang', ['-target', 'bpf', '-O2', '-g', headers, '-c', SOURCE, '-o', path]);
      const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
      const names = ['plain', 'plain', 'plain', 'with_reason', 'with_receiver'] as const;
      const program = names[Math.min(bpf.btf().tracepointArguments('kfree_skb') ?? 0, names.length - 1)] ?? 'plain';
      const object = await BpfObject.open(path);
      object.choosePrograms([program]);
      object.setVariable('first_subnet', subnets[0]);
      object.setVariable('last_subnet', subnets[1]);
      await object.load();
      await object.attach(program);
      return new FreesOracle(object, new DropReasons(bpf));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  /** Returns the counts so far for these namespaces and subnets. */
  read(namespaces: ReadonlySet<number>): ReadonlyMap<string, Freed> {
    const found = new Map<string, Freed>();
    const dump = this.#map.dump();
    for (let index = 0; index < dump.count; index++) {
      const [key, value] = [dump.keyAt(index), dump.valueAt(index)];
      const netns = dump.view.getUint32(key + 8, true);
      if (!namespaces.has(netns)) continue;
      const place = dump.view.getBigUint64(key, true);
      const reason = dump.view.getUint32(key + 12, true);
      found.set(`${netns} ${reason} ${place}`, {
        netns,
        reason: this.#reasons.name(reason),
        place: this.#symbols.describe(place) ?? `0x${place.toString(16)}`,
        count: Number(dump.view.getBigUint64(value, true)),
      });
    }
    return found;
  }

  [Symbol.dispose](): void {
    this.#object.close();
  }
}
