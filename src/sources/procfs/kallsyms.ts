import { join } from 'node:path';
import type { Counter } from '#core/counter.ts';
import { forEachLine, readText } from './read.ts';

/**
 * Matches a line such as `ffffffff81a0b2c0 t nf_hook_slow\t[nf_tables]`: address, type, name and module. Only symbols
 * in code have one of these types.
 */
const LINE = /^([0-9a-f]{16}) [tTwW] (\S+)(?:\t\[(\S+)\])?$/;
/** Matches a line such as `nf_tables 249856 1 nft_ct, Live 0xffffffffc0a5b000`: name, size in bytes, …, address. */
const MODULE = /^(\S+) (\d+) .* 0x([0-9a-f]{16})/gm;
/** Symbol that marks the end of the kernel's own code. */
const KERNEL_END = '_etext';

/**
 * Number of low hexadecimal digits that fit exactly into a JavaScript number. The remaining digits of a kernel address
 * are all `f`.
 */
const DIGITS = 13;
const LOW_MASK = (1n << BigInt(4 * DIGITS)) - 1n;

function lowDigits(hex: string): number {
  return Number.parseInt(hex.slice(-DIGITS), 16);
}

function wholeAddress(low: number): bigint {
  return BigInt.asUintN(64, ~LOW_MASK | BigInt(low));
}

/** A memory range that contains code. */
interface Area {
  readonly start: number;
  readonly end: number;
}

/**
 * Functions of the kernel and its modules by address, for kernels on which BPF programs cannot resolve addresses.
 * Stores two numbers and a name per function. Without CAP_SYSLOG, all addresses in /proc/kallsyms are zero and the
 * table stays empty.
 */
export class SymbolTable {
  /** Start addresses, sorted. */
  readonly #starts: Float64Array;
  /** Offset of each name in `#names`. A name is stored as `name` or `name module`, terminated by NUL. */
  readonly #nameAt: Uint32Array;
  readonly #names: Buffer;
  readonly #areas: readonly Area[];

  /**
   * @param forEach calls `handle` for each line of /proc/kallsyms
   * @param modules content of /proc/modules
   */
  constructor(forEach: (handle: (line: string) => void) => void, modules: string) {
    const starts: number[] = [];
    const nameAt: number[] = [];
    const names: string[] = [];
    let bytes = 0;
    let kernelStart = Number.POSITIVE_INFINITY;
    let kernelEnd = 0;
    forEach((line) => {
      const [, hex = '', name = '', module] = LINE.exec(line) ?? [];
      const start = lowDigits(hex);
      if (!(start > 0)) return;
      if (module === undefined) kernelStart = Math.min(kernelStart, start);
      if (name === KERNEL_END) kernelEnd = start;
      const text = module === undefined ? `${name}\0` : `${name} ${module}\0`;
      starts.push(start);
      nameAt.push(bytes);
      names.push(text);
      bytes += text.length;
    });
    // Aliases stay in the order of the file because the kernel also uses the name of the first one.
    const order = Uint32Array.from(starts.keys()).sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0) || a - b);
    this.#starts = Float64Array.from(order, (index) => starts[index] ?? 0);
    this.#nameAt = Uint32Array.from(order, (index) => nameAt[index] ?? 0);
    this.#names = Buffer.from(names.join(''), 'latin1');
    this.#areas = [{ start: kernelStart, end: kernelEnd }, ...moduleAreas(modules)];
  }

  /**
   * Formats an address as the kernel does: `nft_do_chain+0x3e8/0x610 [nf_tables]`. Returns undefined if the address is
   * not in known code.
   */
  describe(address: Counter): string | undefined {
    const low = Number(BigInt(address) & LOW_MASK);
    const area = this.#areas.find(({ start, end }) => low >= start && low < end);
    const index = this.#find(low);
    const start = this.#starts[index];
    if (area === undefined || start === undefined || start < area.start) return undefined;
    const [name, module] = this.#nameOf(index).split(' ');
    const size = this.#endOf(index, area) - start;
    const place = `${name}+0x${(low - start).toString(16)}/0x${size.toString(16)}`;
    return module === undefined ? place : `${place} [${module}]`;
  }

  /**
   * Returns the address ranges of functions; the end addresses are exclusive. A function has several ranges if the
   * compiler has split it.
   */
  ranges(functions: readonly string[]): (readonly [start: bigint, end: bigint])[] {
    const wanted = new Set(functions);
    const found: (readonly [bigint, bigint])[] = [];
    for (const [index, start] of this.#starts.entries()) {
      const [name = ''] = this.#nameOf(index).split(' ');
      if (!wanted.has(name.replace(/\..*$/, ''))) continue;
      const area = this.#areas.find((one) => start >= one.start && start < one.end);
      if (area !== undefined) found.push([wholeAddress(start), wholeAddress(this.#endOf(index, area))]);
    }
    return found;
  }

  /**
   * Returns the index of the last symbol at or before an address; -1 if there is none. If the symbol has aliases,
   * returns the index of the first alias.
   */
  #find(address: number): number {
    let [low, high] = [0, this.#starts.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    let index = low - 1;
    while (index > 0 && this.#starts[index - 1] === this.#starts[index]) index--;
    return index;
  }

  #endOf(index: number, { end }: Area): number {
    const start = this.#starts[index];
    let next = index + 1;
    while (this.#starts[next] === start) next++;
    return Math.min(this.#starts[next] ?? end, end);
  }

  #nameOf(index: number): string {
    const at = this.#nameAt[index] ?? 0;
    return this.#names.toString('latin1', at, this.#names.indexOf(0, at));
  }
}

function moduleAreas(modules: string): Area[] {
  return [...modules.matchAll(MODULE)].map(([, , bytes, hex = '']) => {
    const start = lowDigits(hex);
    return { start, end: start + Number(bytes) };
  });
}

/**
 * Symbols of the running kernel, read on first use. They are read again if an address is unknown and modules have been
 * loaded since then.
 */
export class KernelSymbols {
  readonly #proc: string;
  #table: SymbolTable | undefined;
  #modules = '';

  /**
   * @param proc mount point of procfs
   */
  constructor(proc: string) {
    this.#proc = proc;
  }

  /**
   * @throws if /proc/kallsyms cannot be read
   */
  describe(address: Counter): string | undefined {
    const known = this.#table?.describe(address);
    if (known !== undefined) return known;
    const modules = readText(join(this.#proc, 'modules')) ?? '';
    if (this.#table !== undefined && modules === this.#modules) return undefined;
    return this.#read(modules).describe(address);
  }

  /**
   * @throws if /proc/kallsyms cannot be read
   */
  ranges(functions: readonly string[]): (readonly [start: bigint, end: bigint])[] {
    return (this.#table ?? this.#read(readText(join(this.#proc, 'modules')) ?? '')).ranges(functions);
  }

  #read(modules: string): SymbolTable {
    this.#table = new SymbolTable((handle) => forEachLine(join(this.#proc, 'kallsyms'), handle), modules);
    this.#modules = modules;
    return this.#table;
  }
}
