import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { eventProcess, packetTuple } from '#bpf/generated/common.ts';
import { decodeProcess, decodeTuple } from './scene.ts';

function tuple(fields: {
  family: number;
  protocol?: number;
  ethertype?: number;
  source?: number[];
  sourcePort?: number;
}): DataView {
  const view = new DataView(new ArrayBuffer(packetTuple.SIZE));
  const { offsets } = packetTuple;
  for (const [index, byte] of (fields.source ?? []).entries()) view.setUint8(offsets.source + index, byte);
  view.setUint16(offsets.sourcePort, fields.sourcePort ?? 0, true);
  view.setUint16(offsets.ethertype, fields.ethertype ?? 0, true);
  view.setUint8(offsets.protocol, fields.protocol ?? 0);
  view.setUint8(offsets.family, fields.family);
  return view;
}

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];

it('shows a port if the protocol has one, and a frame that is not IP by its type', () => {
  expect(decodeTuple(tuple({ family: 4, protocol: 6, source: MAPPED, sourcePort: 443 }), 0)).toEqual({
    src: '10.0.0.1:443',
    dst: '[::]:0',
    protocol: 'tcp',
  });
  expect(decodeTuple(tuple({ family: 4, protocol: 1, source: MAPPED }), 0)).toMatchObject({
    src: '10.0.0.1',
    protocol: 'icmp',
  });
  expect(decodeTuple(tuple({ family: 0, ethertype: 0x0806 }), 0)).toEqual({ protocol: 'arp' });
});

it('omits the process if there is none', () => {
  expect(decodeProcess(new DataView(new ArrayBuffer(eventProcess.SIZE)), 0)).toEqual({});
});

it('decodes arbitrary bytes', () => {
  const bytes = fc.uint8Array({ minLength: 64, maxLength: 64 });
  fc.assert(
    fc.property(bytes, (given) => {
      const view = new DataView(given.slice().buffer);
      expect(decodeTuple(view, 0).protocol).not.toBe('');
      const { pid } = decodeProcess(view, 0);
      expect(pid === undefined || pid > 0).toBe(true);
    }),
  );
});
