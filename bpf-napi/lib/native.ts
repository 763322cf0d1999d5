import { createRequire } from 'node:module';
import { BpfError } from './errors.ts';

/** Exports of `build/bpf_napi.node`. Only the files of this package use them; other code uses index.ts. */
export interface NativeModule {
  readonly libbpfVersion: string;
  refusedCalls(): string[];
  openObject(path: string): Promise<NativeObject>;
  readonly Ring: new (object: NativeObject, map: number) => NativeRing;
  readonly Stats: new () => NativeStats;
  readonly Subscription: new (protocol: number, groups: Uint32Array, queueBytes: number) => NativeSubscription;
  withNetns<T>(path: string, inside: () => T): T;
  enterNetns(path: string): void;
  netnsCookie(): bigint;
  netlinkDump(protocol: number, request: Uint8Array, bytesMax: number): NativeAnswer;
  netlinkDumpAsync(protocol: number, request: Uint8Array, bytesMax: number): Promise<NativeAnswer>;
  clockOffset(): bigint;
  jiffiesPerSecond(): number;
  tryLock(fd: number): Promise<boolean>;
  exitNow(code: number): void;
}

export interface NativeAnswer {
  messages: Uint8Array;
  interrupted: boolean;
}

export interface NativeObject {
  programs(): { name: string; section: string }[];
  maps(): NativeMap[];
  setAutoload(program: string, load: boolean): void;
  setAutocreate(map: number, create: boolean): void;
  setMaxEntries(map: number, entries: number): void;
  setOnDemand(map: number): void;
  setConstant(name: string, value: bigint | Uint8Array): void;
  reuseMap(map: number, fd: number): number;
  load(): Promise<void>;
  attach(program: string): Promise<number>;
  attachCgroup(program: string, cgroup: string | number): Promise<number>;
  plug(program: string, arrayFd: number, index: number): number;
  detachOne(link: number): void;
  detach(): void;
  run(program: string, args: BigUint64Array): number;
  runPacket(program: string, packet: Uint8Array, left: Uint8Array, repeat: number): NativeRun;
  readIterator(program: string, bytesMax: number, mapFd: number | undefined): Uint8Array;
  readIteratorAsync(program: string, bytesMax: number, mapFd: number | undefined): Promise<Uint8Array>;
  programInfo(program: string): { id: number; runNanoseconds: bigint; runs: bigint; missed: bigint };
  mapFd(map: number): number;
  lookup(map: number, key: Uint8Array, value: Uint8Array): boolean;
  update(map: number, key: Uint8Array, value: Uint8Array): void;
  delete(map: number, key: Uint8Array): boolean;
  dump(map: number, target: Uint8Array, capacity: number): number;
  readMapped(map: number, target: Uint8Array, bytes: number): void;
  writeMapped(map: number, offset: number, bytes: Uint8Array): void;
  close(): void;
}

export interface NativeRun {
  result: number;
  bytes: number;
  nanoseconds: number;
}

export interface NativeMap {
  name: string;
  type: number;
  keyBytes: number;
  valueBytes: number;
  maxEntries: number;
}

export interface NativeRing {
  drain(target: Uint8Array, recordBytesMax: number): number;
  watch(ready: () => void): void;
  unwatch(): void;
  close(): void;
}

export interface NativeSubscription {
  receive(target: Uint8Array, datagramBytesMax: number): { bytes: number; overrun: boolean; empty: boolean };
  watch(ready: () => void): void;
  unwatch(): void;
  close(): void;
}

export interface NativeStats {
  close(): void;
}

/**
 * Paths of the addon, either next to the bundle that contains this code or in the build directory of this workspace.
 */
const CANDIDATES = ['./bpf_napi.node', '../build/bpf_napi.node'];

function load(): NativeModule | Error {
  const require = createRequire(import.meta.url);
  let missing: Error = new Error('bpf_napi.node was not built; run scripts/setup');
  for (const candidate of CANDIDATES) {
    try {
      return require(candidate) as NativeModule;
    } catch (error) {
      // If the file exists but cannot be loaded, for example because libbpf is missing, that error is more useful
      // than "not found".
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') missing = error as Error;
    }
  }
  return missing;
}

let loaded: NativeModule | Error | undefined;

/** Returns the reason why the addon cannot be used; undefined if it can. */
export function unavailable(): string | undefined {
  loaded ??= load();
  return loaded instanceof Error ? loaded.message.split('\n', 1)[0] : undefined;
}

/**
 * @throws {BpfError} BPF_UNAVAILABLE if the addon or libbpf is missing
 */
export function native(): NativeModule {
  loaded ??= load();
  if (loaded instanceof Error) {
    throw new BpfError('BPF_UNAVAILABLE', `bpf-napi: ${unavailable()}`, { cause: loaded });
  }
  return loaded;
}
