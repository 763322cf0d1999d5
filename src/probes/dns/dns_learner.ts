import { dnsAnswer } from '#bpf/generated/dns.ts';
import { asNetnsId } from '#core/netns.ts';
import type { ProbeScope } from '#probe/contract.ts';
import type { EbpfInstance } from '#probe/ebpf.ts';
import type { EventSet } from '#probe/event.ts';
import { withSubject } from '#probe/host_pods.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { defineMetrics, type Emit, NO_LABELS, NODE } from '#probe/metric.ts';
import { defineRetained, type Retained } from '#probe/retained.ts';
import { readAddresses } from './dns_addresses.ts';

const CAUSES = ['limited', 'lost', 'malformed', 'cut', 'displaced'] as const;

export const NAME_METRICS = defineMetrics({
  names: {
    type: 'gauge',
    scope: 'node',
    name: 'netsonde_dns_named_addresses',
    help: 'Addresses that Pods have resolved from names, each counted once for each Pod.',
    source: 'map events',
    detail: 'core',
    labels: {},
  },
  namesDropped: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_dns_names_dropped_total',
    help: 'Answers whose addresses are without names, and names that were forgotten.',
    source: 'maps events, event_ledgers',
    detail: 'core',
    labels: {
      cause: {
        help: 'limited: answers of a Pod with more than 100 of them in a second; lost: the ring was full; malformed: not an answer that resolvers accept, or not the name of a host; cut: longer than 512 bytes (508 over TCP), so that addresses at its end have no name; displaced: a Pod has resolved more addresses than the agent remembers, or an address from more names.',
        values: CAUSES,
      },
    },
  },
});

/** Maximum number of answers with addresses that the object sends for an owner each second. */
const RATE = 100;
export const RING_BYTES = 256 * 1024;
/** Answers of earlier runs that were lost, or could not be read. */
const EARLIER = defineRetained(() => ({ ledger: EVENT_LEDGER.initial(), malformed: 0, cut: 0 }));

/** Learns the names of peers from the answers that the programs send. */
export class DnsLearner {
  readonly #scope: Pick<ProbeScope<EventSet>, 'names' | 'hostPods'>;
  readonly #counts: Retained<ReturnType<typeof EARLIER.initial>>;
  #instance: Pick<EbpfInstance, 'drain' | 'addLedger'> | undefined;

  constructor(scope: Pick<ProbeScope<EventSet>, 'names' | 'hostPods' | 'retained'>) {
    this.#scope = scope;
    this.#counts = scope.retained(EARLIER);
  }

  /** Options of the ring through which the programs send answers. */
  get ring() {
    return {
      recordBytesMax: dnsAnswer.SIZE,
      reportRate: RATE,
      onRecord: (view: DataView, at: number) => this.#take(view, at),
    };
  }

  /** Shows the names until the returned object is disposed. */
  start(instance: Pick<EbpfInstance, 'drain' | 'addLedger'>): Disposable {
    this.#instance = instance;
    const names = this.#scope.names.open({ refresh: () => instance.drain() });
    return {
      [Symbol.dispose]: () => {
        names[Symbol.dispose]();
        const { ledger } = this.#counts.value;
        this.#counts.value.ledger = instance.addLedger(ledger);
        this.#instance = undefined;
      },
    };
  }

  emit(emit: Emit<typeof NAME_METRICS>): void {
    const { names } = this.#scope;
    const { ledger, malformed, cut } = this.#counts.value;
    const { limited, lost } = this.#instance?.addLedger(ledger) ?? ledger;
    const dropped = { limited, lost, malformed, cut, displaced: names.displaced };
    emit('names', NODE, names.size, NO_LABELS);
    for (const cause of CAUSES) emit('namesDropped', NODE, dropped[cause], { cause });
  }

  #take(view: DataView, at: number): void {
    const message = dnsAnswer.message(view, at).subarray(0, dnsAnswer.bytes(view, at));
    const { resolved, fault } = readAddresses(message, dnsAnswer.length(view, at));
    if (fault !== undefined) this.#counts.value[fault]++;
    if (resolved === undefined) return;
    const place = { netns: asNetnsId(dnsAnswer.netns(view, at)), cgroup: dnsAnswer.cgroup(view, at) };
    withSubject(this.#scope.hostPods, place, (subject) => this.#scope.names.learn(subject, resolved));
  }
}
