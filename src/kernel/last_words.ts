import type { Aggregator } from '#collectors/aggregate.ts';
import type { NetnsId } from '#core/netns.ts';
import type { LastWords } from '#pods/retired.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { ip } from '#probes/ip.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { tcp } from '#probes/tcp.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import { tcpretrans } from '#probes/tcpretrans.ts';
import { udp } from '#probes/udp.ts';

/** Metrics of lost packets and failed connections. */
const LOSS: readonly MetricDescriptor[] = [
  packetloss.metrics.drops,
  tcpext.metrics.listenOverflows,
  tcpext.metrics.listenDrops,
  udp.metrics.receiveErrors,
  udp.metrics.receiveBufferErrors,
  udp.metrics.sendBufferErrors,
  ip.metrics.receiveDiscards,
  ip.metrics.sendDiscards,
];

/** Metrics of other failures, resets and retransmissions. */
const TROUBLE: readonly MetricDescriptor[] = [
  tcpreset.metrics.resets,
  tcpretrans.metrics.retransmits,
  tcp.metrics.attemptFails,
  tcp.metrics.establishedResets,
  tcp.metrics.retransmittedSegments,
  tcpext.metrics.timeouts,
  udp.metrics.noPort,
];

/**
 * Returns a function that rates the last values of a dead entity: packet loss, other trouble, or nothing.
 * @param dead entities that were dead before the collection started, so that it contains their last values
 */
export function lastWords(aggregator: Aggregator, dead: ReadonlySet<NetnsId>): (id: NetnsId) => LastWords | undefined {
  const loss = slotsWithAny(aggregator, LOSS);
  const trouble = slotsWithAny(aggregator, TROUBLE);
  return (id) => {
    if (!dead.has(id)) return undefined;
    const slot = aggregator.entities.attribute(id);
    // The entity is not on the page, for example because another entity has taken its place.
    if (typeof slot !== 'number') return 'nothing';
    if (loss.has(slot)) return 'loss';
    return trouble.has(slot) ? 'trouble' : 'nothing';
  };
}

function slotsWithAny(aggregator: Aggregator, metrics: readonly MetricDescriptor[]): ReadonlySet<number> {
  const slots = new Set<number>();
  for (const metric of metrics)
    for (const [slot, sum] of aggregator.sums(metric) ?? []) if (Number(sum) > 0) slots.add(slot);
  return slots;
}
