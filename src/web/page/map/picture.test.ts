import { describe, expect, it } from 'vitest';
import type { Peer } from '#api/events.ts';
import { NO_COUNTS } from '#api/flow_rates.ts';
import {
  LARGE,
  largeReport,
  MAP_START_MS,
  type MapFault,
  mapEdge,
  mapNode,
  mapReport,
  shopReport,
} from '../../../../test/support/map_reports.ts';
import type { SeenEvent } from '../event_log.ts';
import { MapBook } from './book.ts';
import { Directory, type FlowName } from './directory.ts';
import { type Snapshot, snapshotOf } from './model.ts';
import { ALL, BOXES_MAX, bandTitle, firstDetail, LINES_MAX, pictureOf } from './picture.ts';
import { troubleOf } from './verdict.ts';

const NOBODY = new Directory([], [], []);

function snapshotFrom(...reports: readonly Parameters<MapBook['add']>[0][]): Snapshot {
  const book = new MapBook();
  for (const report of reports) book.add(report);
  return snapshotOf(book, [], NOBODY) as Snapshot;
}

const shop = (faults: readonly MapFault[], faultAt = 0) =>
  snapshotFrom(...[0, 10, 20, 30, 40, 50, 60].map((seconds) => shopReport(seconds, faults, faultAt)));

const told = ({ trouble }: Snapshot) =>
  trouble.map(({ title, trouble: one }) => `${title} ${one?.kind} ${one?.grade} ${one?.text}`);

describe('the snapshot', () => {
  it('of a healthy shop has no trouble', () => {
    const { edges, trouble, seconds } = shop([]);
    expect([trouble, edges.length, seconds]).toEqual([[], 26, 60]);
    expect(edges[0]).toMatchObject({ title: 'outside → gateway:443', bytesRate: 42e6, seconds: 60 });
  });

  it.each<[MapFault, string, string]>([
    ['refused', 'checkout → orders:8080 refused alert 100 % refused', '100 %'],
    ['lossy', 'storefront → search:9200 lossy alert 6.12 % retransmitted', '6.1 %'],
    ['slow', 'catalog → postgres:5432 slow notice 182 ms round trip', '180 ms'],
    ['outside', 'checkout → payments.example:443 failed alert 100 % unreachable', '100 %'],
  ])('finds the fault %s, and no other', (fault, text, short) => {
    const snapshot = shop([fault]);
    expect(told(snapshot)).toEqual([text]);
    expect(snapshot.trouble[0]?.trouble?.short).toBe(short);
    expect(snapshot.trouble[0]?.trouble?.cause).toMatch(/^[A-Z\d].*\.$/);
  });

  it('finds faults that begin later, the worst first', () => {
    const snapshot = shop(['lossy', 'refused'], 30);
    expect(told(snapshot)).toEqual([
      expect.stringContaining('checkout → orders:8080 refused alert'),
      expect.stringContaining('storefront → search:9200 lossy notice'),
    ]);
  });

  it('leaves out edges without traffic, once there are rates', () => {
    const [a, b] = [mapNode('workload', 'shop', 'a'), mapNode('workload', 'shop', 'b')];
    const report = (seconds: number) => mapReport([a, b], [mapEdge(a, b, 80)], seconds);
    expect(snapshotFrom(report(0)).edges).toHaveLength(1);
    expect(snapshotFrom(report(0), report(10)).edges).toHaveLength(0);
  });

  it('has edges of UDP, which are idle without datagrams, and whose trouble shows bytes', () => {
    const [a, b] = [mapNode('workload', 'shop', 'a'), mapNode('workload', 'kube-system', 'dns')];
    const report = (seconds: number, sentDatagrams: number) =>
      mapReport([a, b], [{ ...mapEdge(a, b, 53), protocol: 'udp', sentDatagrams }], seconds);
    const { edges } = snapshotFrom(report(0, 0), report(10, 5));
    expect(edges).toMatchObject([{ title: 'a → dns:53/UDP', counts: { sentDatagrams: 5 }, trouble: undefined }]);
    expect(snapshotFrom(report(0, 5), report(10, 5)).edges).toEqual([]);
    const none = { events: [], dropped: 0, queueFull: 0, queueFullBehind: 0, unanswered: 0 };
    const signs = { ...none, denied: 2, reasons: new Set(['NETFILTER_DROP']) };
    const facts = { counts: undefined, open: 0, protocol: 'udp', signs, isFar: false, isStranger: false } as const;
    expect(troubleOf(facts)).toMatchObject({ kind: 'denied', measure: 'bytes' });
  });

  it('has denied edges of boxes without connections; those of strangers outside are only worth a look', () => {
    const orders = mapNode('workload', 'shop', 'orders');
    const book = new MapBook();
    book.add(mapReport([orders], [], 60));
    const drop = (src: string, srcOwner: Partial<Peer>) =>
      ({
        id: src,
        event: {
          ...{ time: new Date(MAP_START_MS + 50_000).toISOString(), type: 'packet_drop', reason: 'NETFILTER_DROP' },
          ...{ namespace: '', pod: '', protocol: 'tcp', src: `${src}:40000`, dst: '10.0.0.2:8080' },
          srcOwner: { kind: 'pod', namespace: 'shop', name: 'cart-1', ip: src, ...srcOwner },
          dstOwner: { kind: 'pod', namespace: 'shop', name: 'orders-0', workload: 'orders', ip: '10.0.0.2' },
        },
      }) as unknown as SeenEvent;
    const directory = new Directory([orders], [], []);
    const outside = drop('203.0.113.9', { kind: 'external', namespace: '', name: '' });
    const snapshot = snapshotOf(book, [drop('10.0.0.1', { service: 'cart' }), outside], directory) as Snapshot;
    expect(told(snapshot)).toEqual([
      'cart → orders:8080 denied alert denied by a rule',
      'outside → orders:8080 denied notice denied by a rule',
    ]);
    const { boxes, lines } = pictureOf(snapshot, ALL);
    expect(boxes.map(({ id }) => id).sort()).toEqual(['external// asks', 'service/shop/cart', 'workload/shop/orders']);
    expect(lines).toHaveLength(2);
  });

  it('shows a full accept queue behind a Service instead of the missing response', () => {
    const none = { events: [], denied: 0, dropped: 0, queueFull: 0, unanswered: 0, reasons: new Set<string>() };
    const signs = { ...none, queueFullBehind: 7 };
    const facts = { open: 1, protocol: 'tcp', signs, isFar: false, isStranger: false } as const;
    const silent = { ...NO_COUNTS, failed: { given_up: 4 }, failures: 4, sentSegments: 8, retransmittedSegments: 4 };
    expect(troubleOf({ ...facts, counts: silent })).toMatchObject({ kind: 'full', text: 'accept queue full' });
    const refused = { ...NO_COUNTS, failed: { refused: 4 }, failures: 4, sentSegments: 4 };
    expect(troubleOf({ ...facts, counts: refused })?.kind).toBe('refused');
    expect(troubleOf({ ...facts, counts: NO_COUNTS })).toBeUndefined();
  });

  it('names the address of the only peer outside, and lists several', () => {
    const [web, outside] = [mapNode('workload', 'shop', 'web'), mapNode('external', '', '')];
    const flow = (peer: string, port = 443): FlowName => ({
      ...{ namespace: 'shop', pod: 'web', workload: 'web', role: 'client', peer, port },
      ...{ peerKind: 'external', peerNamespace: '', peerName: '' },
    });
    const viewWith = (...flows: FlowName[]) => {
      const book = new MapBook();
      book.add(mapReport([web, outside], [mapEdge(web, outside, 443)]));
      const [view] = snapshotOf(book, [], new Directory([web, outside], [], flows))?.edges ?? [];
      return [view?.title, view?.outside];
    };
    expect(viewWith()).toEqual(['web → outside:443', []]);
    expect(viewWith(flow('192.0.2.1'), flow('192.0.2.9', 80))).toEqual(['web → outside 192.0.2.1:443', ['192.0.2.1']]);
    expect(viewWith(flow('fd00::1'))[0]).toBe('web → outside [fd00::1]:443');
    expect(viewWith(flow('192.0.2.1'), flow('192.0.2.2'))).toEqual(['web → outside:443', ['192.0.2.1', '192.0.2.2']]);
  });

  it('has the share of unknown peers in the bytes of the last minute, whatever was unknown before', () => {
    const [a, unknown] = [mapNode('workload', 'shop', 'a'), mapNode('unknown', '', '')];
    const b = mapNode('workload', 'shop', 'b');
    const report = (seconds: number, early: number) =>
      mapReport(
        [a, b, unknown],
        [mapEdge(a, b, 80, { bytes: 3_000 }, seconds), mapEdge(a, unknown, 80, { bytes: 1_000 }, early)],
        seconds,
      );
    expect(snapshotFrom(report(0, 0), report(20, 20))?.unknownShare).toBe(0.25);
    expect(snapshotFrom(report(100, 90), report(120, 90))?.unknownShare).toBe(0);
  });

  it('has the changes of the node in the last five minutes', () => {
    const book = new MapBook();
    book.add(mapReport([], [], 600));
    const at = (id: string, probe: string, ms: number) =>
      ({ id, event: { probe, time: new Date(MAP_START_MS + ms).toISOString() } }) as SeenEvent;
    const events = [at('a', 'changes', 590_000), at('b', 'packetloss', 590_000), at('c', 'changes', 200_000)];
    expect(snapshotOf(book, events, NOBODY)?.changes.map(({ id }) => id)).toEqual(['a']);
  });

  it('makes names inert', () => {
    const [a, b] = [mapNode('workload', 'shop', '\u202Egnp.exe'), mapNode('external', '', '<img src=x>')];
    const { edges } = snapshotFrom(mapReport([a, b], [mapEdge(a, b, 80)]));
    expect(edges[0]?.title).toBe('\\u{202e}gnp.exe → <img src=x>:80');
  });
});

describe('the picture', () => {
  it('has a box for each workload, and two for a peer outside that asks and answers', () => {
    const outside = mapNode('external', '', '');
    const web = mapNode('workload', 'shop', 'web');
    const edges = [mapEdge(outside, web, 443), mapEdge(web, outside, 443)];
    const { boxes, lines } = pictureOf(snapshotFrom(mapReport([outside, web], edges)), ALL);
    expect(boxes.map(({ id, isLast }) => [id, isLast])).toEqual([
      ['external// asks', false],
      ['workload/shop/web', false],
      ['external//', true],
    ]);
    expect(lines.map(({ source, target }) => [source, target])).toEqual([
      ['external// asks', 'workload/shop/web'],
      ['workload/shop/web', 'external//'],
    ]);
  });

  it('by namespace has the worst state of what is inside, and adds up lines', () => {
    const snapshot = shop(['refused']);
    const { boxes, lines } = pictureOf(snapshot, { level: 'namespaces', opened: new Set() });
    const group = boxes.find(({ title }) => title === 'shop');
    expect(group).toMatchObject({ kind: 'group', state: 'alert', troubles: 1, members: { length: 7 } });
    const line = lines.find(({ source, target }) => source === 'group edge' && target === 'group shop');
    expect(line).toMatchObject({ bytesRate: 38e6 + 2.1e6, edges: { length: 2 }, trouble: undefined });
    expect(lines.some(({ source, target }) => source === target)).toBe(false);
  });

  it('opens namespaces in place', () => {
    const { boxes } = pictureOf(shop([]), { level: 'namespaces', opened: new Set(['data']) });
    const titles = boxes.map(({ title }) => title);
    expect(titles).toContain('postgres');
    expect(titles).not.toContain('cart');
  });

  it('opens by workload if it fits, and else by namespace with those in trouble opened', () => {
    expect(firstDetail(shop(['refused']))).toBe(ALL);
    const large = snapshotFrom(largeReport(LARGE, 0), largeReport(LARGE, 30));
    expect(large.trouble.length).toBeGreaterThan(20);
    const detail = firstDetail(large);
    const { boxes, lines } = pictureOf(large, detail);
    expect(detail.level).toBe('namespaces');
    expect(detail.opened.size).toBeGreaterThan(0);
    expect([boxes.length <= BOXES_MAX, lines.length <= LINES_MAX]).toEqual([true, true]);
  });

  it('has titles for bands that are no namespaces', () => {
    const band = (kind: 'node' | 'local' | 'external') => mapNode(kind, '', 'x');
    const { boxes } = pictureOf(
      snapshotFrom(mapReport([band('node'), band('local')], [mapEdge(band('node'), band('local'), 80)])),
      ALL,
    );
    expect(boxes.map((box) => bandTitle(box.band, true))).toEqual(['nodes', 'this machine']);
    expect(bandTitle('', false)).toBe('outside this machine, or unknown');
  });
});
