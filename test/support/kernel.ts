import { fileURLToPath } from 'node:url';
import { desiredProbes } from '#agent/desired_kernel.ts';
import type { EventRecord } from '#api/events.ts';
import type { RecordBatch } from '#api/records.ts';
import { textOf } from '#collectors/gzip.ts';
import { ConfigReader } from '#config/load.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import { Kernel } from '#kernel/kernel.ts';
import type { AnyProbe, DesiredProbes } from '#probe/contract.ts';
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
}

/**
 * Returns a configuration that enables only these probes. With all default probes, an agent takes 0.6 s of CPU time to open and 0.1 s for each page;
 * with a single probe, it takes 0.2 s and 0.01 s.
 */
export function only(probes: Readonly<Record<string, unknown>>, rest: Readonly<Record<string, unknown>> = {}): string {
  const off = Object.fromEntries(PROBES.map(({ name }) => [name, false]));
  return JSON.stringify({ ...rest, probes: { ...off, ...probes } });
}

/** Returns the probes that a configuration enables. */
export function probesOf(yaml: string, probes: readonly AnyProbe[] = PROBES): DesiredProbes {
  return desiredProbes(new ConfigReader(probes).parse(yaml));
}

/** Deadlines that exceed those of the agent, because the test blocks the same thread with other work. */
const PATIENT = { probeMs: 30_000, cycleMs: 60_000 };

/** The agent's kernel side, running in the test's thread. */
export class TestKernel implements AsyncDisposable {
  readonly kernel: Kernel;
  readonly events: EventRecord[];
  /** Records of kinds other than events. */
  readonly records: readonly RecordBatch[];
  readonly logs: readonly string[];
  readonly #parser = new ExpositionParser();

  private constructor(kernel: Kernel, events: EventRecord[], records: readonly RecordBatch[], logs: readonly string[]) {
    this.kernel = kernel;
    this.events = events;
    this.records = records;
    this.logs = logs;
  }

  static async open(yaml = '{}', options: TestKernelOptions = {}): Promise<TestKernel> {
    const events: EventRecord[] = [];
    const records: RecordBatch[] = [];
    const logs: string[] = [];
    const kernel = await Kernel.open(
      {
        paths: { ...DEFAULT_PATHS, ...options.paths },
        objects: options.objects ?? OBJECTS,
        node: 'test-node',
        kubernetes: options.kubernetes ?? false,
      },
      {
        probes: options.probes ?? PROBES,
        events: (batch) => events.push(...batch),
        records: (batch) => records.push(batch),
        log: (level, message) => logs.push(`${level} ${message}`),
        deadlines: PATIENT,
      },
    );
    const config = new ConfigReader(options.probes ?? PROBES).parse(yaml);
    await kernel.configure(desiredProbes(config), config.bpfStats, config.limits.series);
    return new TestKernel(kernel, events, records, logs);
  }

  async text(): Promise<string> {
    const { content } = await this.kernel.page('text');
    return Buffer.concat(textOf(content)).toString();
  }

  async page(): Promise<Exposition> {
    return this.#parser.parse(await this.text());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kernel[Symbol.asyncDispose]();
  }
}
