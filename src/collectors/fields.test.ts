import { expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { FieldChoice } from '#probe/fields.ts';
import type { LooseEmit } from '#probe/metric.ts';
import { udp } from '#probes/udp.ts';
import { parseExposition } from '../../test/support/exposition.ts';
import { Aggregator } from './aggregate.ts';
import { TextWriter } from './text_writer.ts';

const POD = { kind: 'pod', netns: asNetnsId(1), inum: 1, namespace: 'x', pod: 'a', uid: 'u', labels: {} } as const;

it('only the listed series are collected, at any detail, one by one and by column', async () => {
  const aggregator = new Aggregator(['udp'], () => true);
  aggregator.entities.set([POD satisfies Entity]);
  const shown = async () => {
    const writer = new TextWriter();
    await aggregator.render(writer, 'text', freeCycle());
    const { samples } = parseExposition(Buffer.concat(writer.finish()).toString());
    return samples.map(({ name, labels }) => `${name.replace('netsonde_udp_', '')} ${labels['family']}`);
  };
  const collect = () => {
    const batch = aggregator.begin('udp');
    const emit = batch.emit as LooseEmit;
    for (const family of ['ipv4', 'ipv6']) {
      emit('noPort', POD.netns, 1, { family });
      emit.column('sent', [POD.netns], { family }, () => 2);
      emit.column('memoryErrors', [POD.netns], { family }, () => 3);
    }
    batch.commit();
    return emit;
  };
  const fields = ['netsonde_udp_sent_datagrams_total{family="ipv4"}', 'netsonde_udp_no_port_total{family="ipv6"}'];
  aggregator.addProbe('udp', udp.metrics, 'core', false, new FieldChoice(udp.metrics, fields));
  const emit = collect();
  expect(['noPort', 'sent', 'memoryErrors', 'received'].map((key) => emit.wants(key))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect((await shown()).sort()).toEqual(['no_port_total ipv6', 'sent_datagrams_total ipv4']);

  // Without a list of fields, the probe shows all metrics again.
  aggregator.removeProbe('udp');
  aggregator.addProbe('udp', udp.metrics, 'full');
  collect();
  expect(await shown()).toHaveLength(6);
});
