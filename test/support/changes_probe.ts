import type { EventRecord } from '#api/events.ts';
import { Scope } from '#collectors/scope.ts';
import type { Counter } from '#core/counter.ts';
import { toCounter } from '#core/counter.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { NodeFacts, ProbeContext, RunningProbe } from '#probe/contract.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import type { Emit, MetricSet } from '#probe/metric.ts';
import { RetainedStates } from '#probe/retained.ts';
import { changes } from '#probes/changes/changes.ts';
import { SourceErrors } from '#sources/errors.ts';
import { NetFiles } from '#sources/net_files.ts';
import { NetlinkClient } from '#sources/netlink/client.ts';
import type { NetnsEntry, NetnsIndex } from '#sources/netns.ts';
import type { Sources } from '#sources/sources.ts';
import type { TestNetns } from './hosts.ts';

export interface SeenEvent extends Pick<EventRecord, 'type' | 'message'> {
  readonly dst: string | undefined;
  readonly severity: string | undefined;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface ChangesProbeOptions {
  readonly networks?: readonly string[];
  readonly podNetworks?: readonly string[];
  readonly podAddresses?: readonly string[];
  readonly limit?: number;
  /** State that an earlier run of the probe left behind. */
  readonly retained?: RetainedStates;
}

/** Returns a netlink client whose sockets belong to this namespace. */
export function netlinkIn(netns: TestNetns): {
  client: NetlinkClient;
  entry: NetnsEntry;
  index: NetnsIndex;
  errors: SourceErrors;
} {
  const entry = { id: asNetnsId(toCounter(netns.id)), inum: netns.inum, isNode: true };
  const index: NetnsIndex = {
    snapshot: () => [entry],
    node: entry,
    isNobodys: () => false,
    visibilityGap: undefined,
    locate: () => undefined,
    mountOf: () => netns.path,
    onSweep: () => ({ [Symbol.dispose]: () => undefined }),
  };
  const errors = new SourceErrors();
  return { client: new NetlinkClient(new NetFiles('/proc', index, errors), errors), entry, index, errors };
}

/** The probe `changes`, which watches a test namespace instead of the node's. */
export class ChangesProbe implements AsyncDisposable {
  readonly events: SeenEvent[] = [];
  readonly warnings: string[] = [];
  readonly retained: RetainedStates;
  readonly errors: SourceErrors;
  readonly #scope: Scope;
  #probe: RunningProbe<MetricSet> | undefined;
  readonly #sweeps: (() => void)[] = [];

  private constructor(options: ChangesProbeOptions, errors: SourceErrors) {
    this.retained = options.retained ?? new RetainedStates();
    this.errors = errors;
    const node: NodeFacts = {
      podNetworks: options.podNetworks ?? [],
      isPodAddress: (ip) => options.podAddresses?.includes(ip) === true,
    };
    this.#scope = new Scope({
      probe: changes.name,
      context: { errors, node } as unknown as ProbeContext,
      retained: this.retained,
      publish: (type, { dst, message, fields, severity }) =>
        this.events.push({
          type,
          dst,
          message,
          fields,
          severity: severity ?? changes.events[type as 'link_changed'].severity,
        }),
      record: () => undefined,
      warn: (message) => this.warnings.push(message),
    });
  }

  static async open(netns: TestNetns, options: ChangesProbeOptions = {}): Promise<ChangesProbe> {
    const { client, index, errors } = netlinkIn(netns);
    const opened = new ChangesProbe(options, errors);
    const onSweep = (sweep: () => void) => {
      opened.#sweeps.push(sweep);
      return { [Symbol.dispose]: () => undefined };
    };
    const sources = { netlink: client, netns: { ...index, onSweep } } as unknown as Sources;
    const { networks = [], limit = 100 } = options;
    opened.#probe = (await changes.open(opened.#scope, sources, {
      metrics: true,
      events: true,
      limit,
      options: { networks: [...networks], tables: ['known', 'cni_*'] },
    })) as unknown as RunningProbe<MetricSet>;
    return opened;
  }

  /** Runs the periodic work that the agent performs every few seconds. */
  sweep(): void {
    for (const sweep of this.#sweeps) sweep();
  }

  /** Collects the probe's metrics. Returns the nonzero values with keys such as `links device=br0 change=up`. */
  async counts(): Promise<Record<string, Counter>> {
    const counts: Record<string, Counter> = {};
    const emit = (metric: string, _: unknown, value: Counter, labels: Readonly<Record<string, string>>) => {
      const named = Object.entries(labels).map(([name, label]) => `${name}=${label}`);
      if (value !== 0) counts[[metric, ...named].join(' ')] = value;
    };
    await this.#probe?.collect?.(emit as unknown as Emit<MetricSet>, freeCycle());
    return counts;
  }

  get ledger() {
    return this.retained.of(changes.name, EVENT_LEDGER).value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]();
  }
}
