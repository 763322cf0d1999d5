import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FLOW_RECORD, type FlowRecord } from '#api/flows.ts';
import { FLOW_ENDS, FLOW_FAILURES } from '#api/words.ts';
import { ACTIVE } from '#core/inert.ts';
import { FLOW_METADATA } from '#core/record_kinds.ts';
import { SpoolLines, sourceOf } from '#delivery/spool_lines.ts';
import { makeFlows } from '../../test/support/flow_lines.ts';
import { FLOW_KIND } from './flow_kind.ts';
import { RECORD_KINDS } from './kinds.ts';

const [FAILED] = makeFlows(1) as [FlowRecord];
const CLOSED: FlowRecord = {
  ...FAILED,
  role: 'server',
  peer: { kind: 'pod', namespace: 'shop', name: 'web-0', workload: 'web', ip: 'fd00::1' },
  dst: 'fd00::7',
  src: 'fd00::1',
  failed: false,
  cause: null,
  end: 'closed',
  state: 'LAST_ACK',
};
/** A record whose peer is a Pod behind a Service. The Pod's workload is unknown. */
const OF_SERVICE: FlowRecord = {
  ...CLOSED,
  peer: { kind: 'pod', namespace: 'shop', name: 'web-0', service: 'web', ip: 'fd00::1' },
};

it('has few labels for a stream, and those that people search by as metadata', () => {
  expect(FLOW_KIND.toRecord(FAILED)).toEqual({
    kind: 'flow',
    probe: 'flow',
    timeNs: '1767225600000000000',
    severity: 'warning',
    stream: { node: 'n', probe: 'flow', type: 'flow', namespace: 'shop' },
    metadata: {
      pod: 'cart',
      netns: '1',
      severity: 'warning',
      src: '10.0.0.1:1024',
      dst: '10.0.0.7:5432',
      role: 'client',
      cause: 'refused',
    },
    json: JSON.stringify(FAILED),
    bytes: JSON.stringify(FAILED).length,
  });
  expect(FLOW_KIND.toRecord(CLOSED)).toMatchObject({
    severity: 'info',
    metadata: { src: '[fd00::1]:1024', dst: '[fd00::7]:5432', role: 'server', end: 'closed' },
  });
});

it('has the address alone where the client got no port, and no owner where that is unknown', () => {
  const record = FLOW_KIND.toRecord({ ...FAILED, srcPort: null, cause: 'no_port', namespace: null, pod: null });
  expect(record.metadata['src']).toBe('10.0.0.1');
  expect(record.stream).toEqual({ node: 'n', probe: 'flow', type: 'flow' });
  expect(Object.keys(record.metadata)).not.toContain('pod');
});

it('has metadata of no other name than those that labels of a sink may not have', () => {
  const names = [FAILED, CLOSED, OF_SERVICE].flatMap((flow) => Object.keys(FLOW_KIND.toRecord(flow).metadata));
  expect([...new Set(names)].sort()).toEqual([...FLOW_METADATA].sort());
});

/** Generates hostile names that a process, a container or a node can have. */
const HOSTILE = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('\n', '\r', '\u001b[2J', '"', '\\', '\u2028', '\u202e', '\ud800', '{', ' ') }),
);
const FLOW = fc.record({
  namespace: fc.option(HOSTILE),
  pod: fc.option(HOSTILE),
  node: HOSTILE,
  state: HOSTILE,
  message: HOSTILE,
  cause: fc.option(fc.constantFrom(...FLOW_FAILURES)),
  end: fc.option(fc.constantFrom(...FLOW_ENDS)),
  sentBytes: fc.maxSafeNat(),
});

it('a record is the same after it was in a spool, and one harmless line, whatever its names are', () => {
  const lines = new SpoolLines(RECORD_KINDS);
  fc.assert(
    fc.property(FLOW, (fields) => {
      const flow = { ...FAILED, ...fields };
      const record = FLOW_KIND.toRecord(flow);
      expect(record.json).not.toMatch(new RegExp(ACTIVE.source, 'u'));
      expect(FLOW_RECORD.parse(JSON.parse(record.json))).toEqual(flow);
      const text = lines.format(record);
      expect(text).toMatch(/^flow\/1 flow \{/);
      expect(sourceOf(text)).toEqual({ kind: 'flow', probe: 'flow' });
      expect(lines.parse({ text, isText: true, bytes: text.length + 1 }, record)).toEqual(record);
    }),
  );
});

it('a record of a version that this one does not know is not restored', () => {
  expect(FLOW_KIND.restore(2, JSON.stringify(FAILED))).toBeUndefined();
});
