import { createRequire } from 'node:module';
import { BpfError } from './errors.ts';

/** Exports of `build/bpf_napi.node`. For internal use by this package; other code imports index.ts. */
export interface NativeModule {
  readonly libbpfVersion: string;
  refusedCalls(): string[];
  openObject(path: string): Promise<NativeObject>;
  readonly Ring: new (object: NativeObject, map: number) => NativeRing;
  readonly Stats: new () => NativeStats;
  readonly Subscription: new (protocol: number, groups: Uint32Array, queueBytes: number) => NativeSubscription;
  readonly PacketRing: new (
    netns: string,
    ringBytes: number,
    retireMs: number,
    program: Uint8Array,
  ) => NativePacketRing;
  readonly PacketFilter: new (expression: string, linkType: number, snap: number) => NativePacketFilter;
  withNetns<T>(path: string, inside: () => T): T;
  enterNetns(path: string): void;
  netnsCookie(): bigint;
  echo(address: string, payloadBytes: number, timeoutMs: number): EchoResult;
  netlinkDump(protocol: number, request: Uint8Array, bytesMax: number): NativeAnswer;
  netlinkDumpAsync(protocol: number, request: Uint8Array, bytesMax: number): Promise<NativeAnswer>;
  clockOffset(): bigint;
  jiffiesPerSecond(): number;
  peerCredentials(fd: number): { pid: number; uid: number; gid: number };
  tryLock(fd: number): Promise<boolean>;
  exitNow(code: number): void;
}

/** Outcome of an ICMP echo request. */
export interface EchoResult {
  /** `error` if an ICMP error about the request has arrived. */
  readonly kind: 'reply' | 'error' | 'timeout';
  readonly ms: number;
  /** Type and code of the ICMP error. */
  readonly type: number;
  readonly code: number;
  /** Address of the sender of the ICMP error; empty if there is none. */
  readonly from: string;
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
  setVariable(name: string, value: bigint | Uint8Array): void;
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
  send(request: Uint8Array): void;
  watch(ready: () => void): void;
  unwatch(): void;
  close(): void;
}

export interface NativePacketRing {
  read(
    target: Uint8Array,
    packetsMax: number,
    interfaceOf: (device: number) => number,
  ): { bytes: number; packets: number; empty: boolean };
  deviceName(device: number): string;
  counts(): { received: number; dropped: number };
  stop(): void;
  watch(ready: () => void): void;
  unwatch(): void;
  close(): void;
}

export interface NativePacketFilter {
  matches(packet: Uint8Array, length: number): boolean;
  instructions(): Uint8Array;
}

export interface NativeStats {
  close(): void;
}

/**
 * Possible paths of the addon, relative to this file: next to the bundle, or in the build directory of this workspace.
 */
const CANDIDATES = ['./bpf_napi.node', '../build/bpf_napi.node'];

function load(): NativeModule | Error {
  const require = createRequire(import.meta.url);
  let missing: Error = new Error('bpf_napi.node was not built; run scripts/setup');
  for (const candidate of CANDIDATES) {
    try {
      return require(candidate) as NativeModule;
    } catch (error) {
      // If the file exists but cannot be loaded, for example because libbpf is missing, report that error because it is
      // more helpful than "not found".
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') missing = error as Error;
    }
  }
  return missing;
}

let loaded: NativeModule | Error | undefined;

/** Returns the reason why the addon cannot be used; undefined if it can be used. */
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
