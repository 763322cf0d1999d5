import { fileURLToPath } from 'node:url';
import { desiredProbes } from '#agent/desired_kernel.ts';
import type { EventRecord } from '#api/events.ts';
import type { RecordBatch } from '#api/records.ts';
import { textOf } from '#collectors/gzip.ts';
import { ConfigReader } from '#config/load.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import { newToolSocket } from '#core/tool_socket.ts';
import { Kernel } from '#kernel/kernel.ts';
import { PeerTeller } from '#kernel/peer_teller.ts';
import type { AnyProbe, DesiredProbes } from '#probe/contract.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { PROBES } from '#probes/index.ts';
import { type Exposition, ExpositionParser } from './exposition.ts';

export const OBJECTS = fileURLToPath(new URL('../../dist/bpf', import.meta.url));

export interface TestKernelOptions {
  readonly paths?: Partial<Paths>;
  /** Directory of the BPF objects. With an empty directory, no BPF program can be loaded. */
  readonly objects?: string;
  readonly probes?: readonly AnyProbe[];
  /** Enables Kubernetes mode, in which the test names Pods with `kernel.namePods()`. */
  readonly kubernetes?: boolean;
  /** Returns the identity of a connection's peer. By default, all peers are unknown. */
  readonly identify?: (ip: string) => PeerIdentity;
  /** Zone of the node. */
  readonly zone?: string;
}

/**
 * Returns a configuration that enables only these probes. With all default probes, an agent needs 0.6 s of CPU time to
 * open and 0.1 s for each page; with a single probe, it needs 0.2 s and 0.01 s.
 */
export function only(probes: Readonly<Record<string, unknown>>, rest: Readonly<Record<string, unknown>> = {}): string {
  const off = Object.fromEntries(PROBES.map(({ name }) => [name, false]));
  return JSON.stringify({ ...rest, probes: { ...off, ...probes } });
}

/** Returns the probes that a configuration enables. */
export function probesOf(yaml: string, probes: readonly AnyProbe[] = PROBES): DesiredProbes {
  return desiredProbes(new ConfigReader(probes).parse(yaml));
}

/** Deadlines that are longer than the agent's, because the test also blocks this thread with other work. */
const PATIENT = { probeMs: 30_000, cycleMs: 60_000 };
/** Under emulation on a busy machine, the kernel checks and attaches the programs of a probe for minutes. */
const OPEN_MS = 240_000;

/** The kernel thread's part of the agent, running in the test's thread. */
export class TestKernel implements AsyncDisposable {
  readonly kernel: Kernel;
  readonly events: EventRecord[];
  /** Records of kinds other than events. */
  readonly records: readonly RecordBatch[];
  readonly logs: readonly string[];
  readonly peers: PeerTeller;
  /** Name of the socket on which commands announce themselves. */
  readonly toolSocket: string;
  readonly #parser = new ExpositionParser();

  private constructor(
    kernel: Kernel,
    peers: PeerTeller,
    events: EventRecord[],
    records: readonly RecordBatch[],
    logs: readonly string[],
    toolSocket: string,
  ) {
    this.kernel = kernel;
    this.peers = peers;
    this.events = events;
    this.records = records;
    this.logs = logs;
    this.toolSocket = toolSocket;
  }

  static async open(yaml = '{}', options: TestKernelOptions = {}): Promise<TestKernel> {
    const events: EventRecord[] = [];
    const records: RecordBatch[] = [];
    const logs: string[] = [];
    const peers = new PeerTeller({
      identify: options.identify ?? (() => UNKNOWN_PEER),
      zone: () => options.zone,
      tell: (told) => kernel.tellPeers(told),
    });
    const toolSocket = newToolSocket();
    const kernel: Kernel = await Kernel.open(
      {
        paths: { ...DEFAULT_PATHS, ...options.paths },
        objects: options.objects ?? OBJECTS,
        node: 'test-node',
        kubernetes: options.kubernetes ?? false,
        toolSocket,
      },
      {
        probes: options.probes ?? PROBES,
        events: (batch) => events.push(...batch),
        records: (batch) => records.push(batch),
        peers: (ask) => peers.asked(ask),
        log: (level, message) => logs.push(`${level} ${message}`),
        deadlines: PATIENT,
        openMs: OPEN_MS,
      },
    );
    const config = new ConfigReader(options.probes ?? PROBES).parse(yaml);
    await kernel.configure(desiredProbes(config), config.bpfStats, config.limits.series);
    return new TestKernel(kernel, peers, events, records, logs, toolSocket);
  }

  async text(format: 'text' | 'openmetrics' = 'text'): Promise<string> {
    const { content } = await this.kernel.page(format);
    return Buffer.concat(textOf(content)).toString();
  }

  async page(): Promise<Exposition> {
    return this.#parser.parse(await this.text());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peers[Symbol.dispose]();
    await this.kernel[Symbol.asyncDispose]();
  }
}
