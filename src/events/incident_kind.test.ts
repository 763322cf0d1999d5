import fc from 'fast-check';
import { expect, it } from 'vitest';
import { INCIDENT, type Incident } from '#api/incidents.ts';
import { ACTIVE } from '#core/inert.ts';
import { INCIDENT_METADATA } from '#core/record_kinds.ts';
import { SpoolLines, sourceOf } from '#delivery/spool_lines.ts';
import { INCIDENT_KIND } from './incident_kind.ts';
import { RECORD_KINDS } from './kinds.ts';

const CLIENT = { kind: 'pod', namespace: 'shop', name: 'cart-0', ip: '10.0.0.1' } as const;
const OPENED: Incident = {
  time: '2026-01-01T00:00:01.000000000Z',
  type: 'incident',
  id: 'Yyod7p_W-mjuxyz',
  state: 'open',
  cause: 'firewall',
  severity: 'warning',
  node: 'n',
  namespace: '',
  pod: '',
  connectionIds: ['Yyod7p_W'],
  client: CLIENT,
  server: { ...CLIENT, name: 'db-0', ip: '10.0.0.2' },
  src: '10.0.0.1',
  dst: '10.0.0.2:5432',
  protocol: 'tcp',
  count: 3,
  events: { packet_drop: 3 },
  ports: 1,
  firstTime: '2026-01-01T00:00:00.000000000Z',
  lastTime: '2026-01-01T00:00:01.000000000Z',
  message: 'a firewall drops',
};

it('has few labels for a stream, and those that people search by as metadata', () => {
  expect(INCIDENT.parse(OPENED)).toEqual(OPENED);
  const { metadata, ...rest } = INCIDENT_KIND.toRecord(OPENED);
  expect(rest).toEqual({
    kind: 'incident',
    probe: 'incidents',
    timeNs: '1767225601000000000',
    severity: 'warning',
    stream: { node: 'n', type: 'incident' },
    json: JSON.stringify(OPENED),
    bytes: JSON.stringify(OPENED).length,
  });
  expect(metadata).toEqual({
    severity: 'warning',
    src: '10.0.0.1',
    dst: '10.0.0.2:5432',
    protocol: 'tcp',
    connectionId: 'Yyod7p_W',
    cause: 'firewall',
    state: 'open',
    client_namespace: 'shop',
    client_name: 'cart-0',
    server_namespace: 'shop',
    server_name: 'db-0',
  });
  const all = { ...OPENED, pod: 'cart-0' };
  expect(Object.keys(INCIDENT_KIND.toRecord(all).metadata).sort()).toEqual([...INCIDENT_METADATA].sort());
});

it('a record is the same after it was in a spool, and one harmless line, whatever its names are', () => {
  const lines = new SpoolLines(RECORD_KINDS);
  const text = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(text, text, (name, message) => {
      const record = INCIDENT_KIND.toRecord({ ...OPENED, client: { ...CLIENT, name }, message });
      expect(record.json).not.toMatch(new RegExp(ACTIVE.source, 'u'));
      const line = lines.format(record);
      expect(sourceOf(line)).toEqual({ kind: 'incident', probe: 'incidents' });
      expect(lines.parse({ text: line, isText: true, bytes: line.length + 1 }, record)).toEqual(record);
    }),
  );
  expect(INCIDENT_KIND.restore(2, '{}')).toBeUndefined();
  expect(() => INCIDENT_KIND.restore(1, '{}')).toThrow('an incident has connections');
});
