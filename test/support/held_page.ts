import { Aggregator } from '#collectors/aggregate.ts';
import type { ScraperView } from '#collectors/births.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { defineMetrics, type LooseEmit } from '#probe/metric.ts';
import { type Exposition, parseExposition } from './exposition.ts';

const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
const REASON = { help: 'Reason.', example: 'NO_SOCKET', max: 2 } as const;
/** Bound of the probe's rows, ranked by the metric `sent`. */
export const BOUND = { max: { core: 2, full: 2 }, rank: ['sent'] } as const;
const PEER = { help: 'Peer.', example: '10.0.0.1', joint: BOUND } as const;

/** Metrics for each kind of row that a scraper must first see with the value 0. */
export const METRICS = defineMetrics({
  plain: { ...base, type: 'counter', name: 'netsonde_plain_total', labels: {} },
  drops: { ...base, type: 'counter', name: 'netsonde_drops_total', labels: { reason: REASON } },
  kinds: {
    ...base,
    type: 'counter',
    name: 'netsonde_kinds_total',
    labels: { kind: { help: 'K.', values: ['a', 'b'] } },
  },
  moved: {
    ...base,
    type: 'counter',
    name: 'netsonde_moved_total',
    labels: { device: { help: 'D.', example: 'eth0', max: 4, moves: true } },
  },
  open: { ...base, type: 'gauge', name: 'netsonde_open', labels: { reason: REASON } },
  delay: { ...base, type: 'histogram', name: 'netsonde_delay', labels: { reason: REASON }, buckets: [1, 2] },
  sent: { ...base, type: 'counter', name: 'netsonde_sent_total', labels: { peer: PEER } },
});

export function pod(id: number, name = `pod-${id}`): Entity {
  return { kind: 'pod', netns: asNetnsId(id), inum: id, namespace: 'x', pod: name, uid: `uid-${id}`, labels: {} };
}

/** The page of one probe, rendered at times that the test sets. */
export class HeldPage {
  nowMs = 0;
  /** Whether all namespaces were created after the first scan. */
  isNew = false;
  aggregator = this.#create(true);

  /** Starts with an empty page. @param isOwn whether the probe's own counters start at zero */
  restart(isOwn: boolean): void {
    this.aggregator = this.#create(isOwn);
  }

  /** Collects the probe. @param commit false if the collection fails */
  collect(emit: (emit: LooseEmit) => void, commit = true): void {
    const batch = this.aggregator.begin('test');
    emit(batch.emit as LooseEmit);
    if (commit) batch.commit();
    else batch.discard();
  }

  /**
   * Renders a page.
   * @param holdMs undefined for a client that is not a scraper
   */
  async render(holdMs?: number, seenMs?: number): Promise<Exposition> {
    const writer = new TextWriter();
    const view: ScraperView | undefined = holdMs === undefined ? undefined : { askedMs: this.nowMs, holdMs, seenMs };
    await this.aggregator.render(writer, 'text', freeCycle(), view);
    return parseExposition(Buffer.concat(writer.finish()).toString());
  }

  #create(isOwn: boolean): Aggregator {
    const aggregator = new Aggregator(
      ['test'],
      () => true,
      () => this.nowMs,
      () => this.isNew,
    );
    aggregator.addProbe('test', METRICS, 'core', isOwn);
    return aggregator;
  }
}
