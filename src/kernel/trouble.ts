import type { Trouble } from '#api/trouble.ts';
import type { Aggregator } from '#collectors/aggregate.ts';
import { isHostPod } from '#pods/entity.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { conntrack } from '#probes/conntrack/conntrack.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { tcp } from '#probes/tcp.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import { udp } from '#probes/udp.ts';

/** Metrics of `/api/v1/trouble` in display order: first the counters to check, then the totals for computing ratios. */
const TROUBLE: readonly MetricDescriptor[] = [
  packetloss.metrics.drops,
  tcpreset.metrics.resets,
  tcp.metrics.retransmittedSegments,
  tcp.metrics.sentSegments,
  tcp.metrics.attemptFails,
  tcp.metrics.activeOpens,
  tcp.metrics.passiveOpens,
  tcpext.metrics.listenOverflows,
  udp.metrics.receiveBufferErrors,
  conntrack.metrics.entries,
  conntrack.metrics.limit,
];

/**
 * Counters with a label for the reason. A series exists only after the first increment, so a missing series counts as
 * 0.
 */
const COUNTED_BY_REASON: readonly MetricDescriptor[] = [packetloss.metrics.drops, tcpreset.metrics.resets];

/** Returns the last collected values of every shown entity. */
export function troubleOf(aggregator: Aggregator, collected: Date): Trouble {
  const sums = TROUBLE.map((metric) => aggregator.sums(metric));
  const nothing = TROUBLE.map((metric) => (COUNTED_BY_REASON.includes(metric) ? 0 : undefined));
  const shown = aggregator.entities.shown().filter(({ entity }) => !isHostPod(entity));
  return {
    collected: collected.toISOString(),
    metrics: TROUBLE.map(({ name }) => name),
    // The metrics of the node include the Pods that share its network namespace.
    entities: shown.map(({ entity: { kind, namespace, pod, netns, isRetired }, slot }) => ({
      kind,
      namespace,
      pod,
      netns: String(netns),
      gone: isRetired === true,
      values: sums.map((bySlot, index) => {
        const sum = bySlot?.get(slot) ?? (bySlot === undefined ? undefined : nothing[index]);
        return sum === undefined ? null : Number(sum);
      }),
    })),
  };
}
