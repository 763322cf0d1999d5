import { expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { PrivacyRule } from '#core/privacy.ts';
import type { Entity } from '#pods/entity.ts';
import { defineMetrics, type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { Aggregator } from './aggregate.ts';
import { TextWriter } from './text_writer.ts';

const BOUND = { max: { core: 16, full: 64 }, rank: ['bytes'] } as const;
const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core', type: 'counter' } as const;
const metrics = defineMetrics({
  bytes: {
    ...base,
    name: 'netsonde_x_bytes_total',
    labels: {
      peer_kind: { help: 'Kind.', example: 'service', joint: BOUND, isOptional: true },
      peer_namespace: { help: 'Namespace.', example: 'shop', joint: BOUND, isOptional: true },
      peer: { help: 'Peer.', example: 'cart', joint: BOUND },
    },
  },
  silent: {
    ...base,
    name: 'netsonde_x_silent_total',
    showsPeers: true,
    labels: { server: { help: 'Server.', example: '10.96.0.10', max: 8 } },
  },
});

const SHOWN: PrivacyRule = { paths: true, names: true, peers: true, traces: true };
const HIDDEN: PrivacyRule = { ...SHOWN, peers: false };
const [SHOP, PAYMENTS] = [1, 2].map(asNetnsId) as [NetnsId, NetnsId];

const entity = (netns: NetnsId, namespace: string): Entity => ({
  kind: 'pod',
  netns,
  inum: Number(netns),
  namespace,
  pod: `${namespace}-pod`,
  uid: '',
  labels: {},
});

interface Row {
  readonly subject: NetnsId;
  readonly kind: string;
  readonly namespace: string;
  readonly peer: string;
  readonly bytes: number;
}

const ROWS: Row[] = [
  { subject: SHOP, kind: 'service', namespace: 'payments', peer: 'bank', bytes: 1 },
  { subject: SHOP, kind: 'service', namespace: 'shop', peer: 'cart', bytes: 2 },
  { subject: SHOP, kind: 'external', namespace: '', peer: '', bytes: 4 },
  { subject: PAYMENTS, kind: 'service', namespace: 'shop', peer: 'cart', bytes: 8 },
  { subject: PAYMENTS, kind: 'external', namespace: '', peer: '', bytes: 16 },
  { subject: PAYMENTS, kind: '*', namespace: '*', peer: '*', bytes: 32 },
];

class Scene {
  readonly aggregator = new Aggregator(['test'], () => false);
  /** Labels by row. A source returns the same object while they do not change. */
  readonly #labels = new Map(
    ROWS.map((row) => [row, { peer_kind: row.kind, peer_namespace: row.namespace, peer: row.peer }]),
  );

  constructor() {
    this.aggregator.addProbe('test', metrics, 'full');
    this.aggregator.entities.set([entity(SHOP, 'shop'), entity(PAYMENTS, 'payments')]);
  }

  collect(): void {
    const batch = this.aggregator.begin('test');
    const emit = batch.emit as LooseEmit;
    emit.rows<Row>(BOUND, ROWS, {
      subject: ({ subject }) => subject,
      key: (row) => ROWS.indexOf(row),
      labels: (row) => this.#labels.get(row) ?? {},
      peerNamespace: ({ namespace }) => namespace,
      samples: ({ bytes }, put) => put('bytes', bytes, NO_LABELS),
    });
    for (const subject of [SHOP, PAYMENTS]) emit('silent', subject, 1, { server: '10.96.0.10' });
    batch.commit();
  }

  async page(): Promise<string[]> {
    const writer = new TextWriter();
    await this.aggregator.render(writer, 'text', freeCycle());
    const lines = Buffer.concat(writer.finish()).toString().split('\n');
    return lines.filter((line) => line.startsWith('netsonde_')).map((line) => line.replace('netsonde_x_', ''));
  }
}

it('shows one edge in place of all peers that the rules of either namespace hide, with the sum of their counts', async () => {
  const scene = new Scene();
  scene.aggregator.privacy = { payments: HIDDEN };
  scene.collect();
  const shop = 'namespace="shop",pod="shop-pod"';
  const payments = 'namespace="payments",pod="payments-pod"';
  expect((await scene.page()).sort()).toEqual(
    [
      `bytes_total{${shop},peer_kind="hidden",peer="hidden"} 1`,
      `bytes_total{${shop},peer_kind="service",peer_namespace="shop",peer="cart"} 2`,
      `bytes_total{${shop},peer_kind="external",peer=""} 4`,
      `bytes_total{${payments},peer_kind="hidden",peer="hidden"} 24`,
      `bytes_total{${payments},peer="*"} 32`,
      `silent_total{${shop},server="10.96.0.10"} 1`,
    ].sort(),
  );
});

it('drops the series with hidden peers at once when the rules change, and keeps all counts', async () => {
  const scene = new Scene();
  scene.collect();
  expect((await scene.page()).filter((line) => line.includes('"payments"'))).toHaveLength(5);
  scene.aggregator.privacy = { '*': HIDDEN };
  expect(await scene.page()).not.toContainEqual(expect.stringContaining('bytes_total'));
  scene.collect();
  const bytes = (await scene.page()).filter((line) => line.startsWith('bytes_total'));
  expect(bytes.every((line) => /peer="(hidden|\*)"/.test(line))).toBe(true);
  expect(bytes.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)).toBe(63);
  expect(await scene.page()).not.toContainEqual(expect.stringContaining('silent_total'));
  scene.aggregator.privacy = {};
  scene.collect();
  expect((await scene.page()).filter((line) => line.includes('peer="cart"'))).toHaveLength(2);
});
