import type { Paths } from '#core/paths.ts';
import type { PodFilters } from '#core/pod_filter.ts';
import type { NodeFacts, ProbeContext, ProbeScope } from '#probe/contract.ts';
import type { SharedNaming } from '#probe/edge_labels.ts';
import type { EventSet, Publish } from '#probe/event.ts';
import type { HostPods } from '#probe/host_pods.ts';
import type { L7Provider } from '#probe/l7_use.ts';
import type { NetnsLife } from '#probe/life.ts';
import type { Owners } from '#probe/owners.ts';
import type { PeerNames } from '#probe/peer_names.ts';
import type { Peers } from '#probe/peers.ts';
import type { OfferRecord } from '#probe/records.ts';
import type { Retained, RetainedState, RetainedStates } from '#probe/retained.ts';
import type { TcpEndsProvider } from '#probe/tcp_ends_use.ts';
import type { SourceErrors } from '#sources/errors.ts';

export interface ScopeOptions {
  readonly probe: string;
  readonly context: ProbeContext;
  readonly retained: RetainedStates;
  readonly publish: Publish<EventSet>;
  readonly record: OfferRecord;
  readonly warn: (message: string) => void;
}

/** The resources of a probe, which are released together. */
export class Scope implements ProbeScope<EventSet>, AsyncDisposable {
  readonly paths: Paths;
  readonly errors: SourceErrors;
  readonly filters: PodFilters;
  readonly owners: Owners;
  readonly hostPods: HostPods;
  readonly life: NetnsLife;
  readonly node: NodeFacts;
  readonly tcpEnds: TcpEndsProvider;
  readonly l7: L7Provider;
  readonly peers: Peers;
  readonly toolSocket: string;
  readonly naming: SharedNaming;
  readonly names: PeerNames;
  readonly publish: Publish<EventSet>;
  /** Replaced if the rules for records change. */
  record: OfferRecord;
  readonly warn: (message: string) => void;
  readonly #probe: string;
  readonly #retained: RetainedStates;
  readonly #controller = new AbortController();
  readonly #resources = new AsyncDisposableStack();

  constructor({ probe, context, retained, publish, record, warn }: ScopeOptions) {
    this.paths = context.paths;
    this.errors = context.errors;
    this.filters = context.filters;
    this.owners = context.owners;
    this.hostPods = context.hostPods;
    this.life = context.life;
    this.node = context.node;
    this.tcpEnds = context.tcpEnds;
    this.l7 = context.l7;
    this.peers = context.peers;
    this.toolSocket = context.toolSocket;
    this.naming = context.naming;
    this.names = context.names;
    this.publish = publish;
    this.record = record;
    this.warn = warn;
    this.#probe = probe;
    this.#retained = retained;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  retained<T>(state: RetainedState<T>): Retained<T> {
    return this.#retained.of(this.#probe, state);
  }

  own<R extends Disposable | AsyncDisposable>(resource: R): R {
    if (this.#resources.disposed) {
      // The probe was closed while it was being opened, so nothing else would release this resource.
      void dispose(resource);
      throw new Error('the probe was closed while it opened');
    }
    return this.#resources.use(resource);
  }

  /** Releases all resources in reverse order. If one of them fails, the remaining resources are still released. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort(new Error('the probe was closed'));
    await this.#resources.disposeAsync();
  }
}

async function dispose(resource: Disposable | AsyncDisposable): Promise<void> {
  if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
  else resource[Symbol.dispose]();
}
