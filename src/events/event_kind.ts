import type { EventRecord } from '#api/events.ts';
import { inertJson } from '#core/inert.ts';
import { timeNsOf } from '#core/kernel_time.ts';
import type { EventMetadata, Kind } from '#core/record_kinds.ts';
import { type LaneRecord, labelsOf, type RecordKind } from '#delivery/record.ts';

const NAME: Kind = 'event';
const VERSION = 1;

/** Converts events to the records that sinks receive. */
export const EVENT_KIND: RecordKind<EventRecord> = {
  name: NAME,
  version: VERSION,
  toRecord: (event) => describe(event, inertJson(JSON.stringify(event))),
  restore: (version, json) =>
    version === VERSION ? describe(JSON.parse(json) as EventRecord, inertJson(json)) : undefined,
};

function describe(event: EventRecord, json: string): LaneRecord {
  const { probe, severity, node, type, namespace, pod, netns, src, dst, protocol, connectionId, peer } = event;
  return {
    kind: NAME,
    probe,
    timeNs: timeNsOf(event),
    severity,
    stream: labelsOf({ node, probe, type, namespace }),
    metadata: labelsOf({
      pod,
      netns,
      severity,
      src,
      dst,
      protocol,
      connectionId,
      traceId: typeof event['traceId'] === 'string' ? event['traceId'] : undefined,
      peer_kind: peer?.kind,
      peer_namespace: peer?.namespace,
      peer_name: peer?.name,
      peer_workload: peer?.workload,
      peer_service: peer?.service,
      peer_ip: peer?.ip,
    } satisfies Record<EventMetadata, string | null | undefined>),
    json,
    bytes: Buffer.byteLength(json),
  };
}
