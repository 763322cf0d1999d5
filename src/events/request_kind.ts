import type { RequestRecord } from '#api/requests.ts';
import { joinEndpoint } from '#core/address.ts';
import { inertJson } from '#core/inert.ts';
import { timeNsOf } from '#core/kernel_time.ts';
import type { Kind, RequestMetadata } from '#core/record_kinds.ts';
import { type LaneRecord, labelsOf, type RecordKind } from '#delivery/record.ts';

const NAME: Kind = 'request';
const VERSION = 1;

/** Converts records of requests to the records that sinks receive. */
export const REQUEST_KIND: RecordKind<RequestRecord> = {
  name: NAME,
  version: VERSION,
  toRecord: (request) => describe(request, inertJson(JSON.stringify(request))),
  restore: (version, json) => {
    if (version !== VERSION) return undefined;
    const request = JSON.parse(json) as RequestRecord;
    if (typeof request.src !== 'string' || typeof request.method !== 'string')
      throw new Error('a request has a method');
    return describe(request, inertJson(json));
  },
};

/** `type` distinguishes requests from other records in Loki, where all have the job `netsonde`. */
function describe(request: RequestRecord, json: string): LaneRecord {
  const { probe, node, namespace, pod, netns, role, method, path, status, failed, traceId, peer } = request;
  const severity = failed ? 'warning' : 'info';
  return {
    kind: NAME,
    probe,
    timeNs: timeNsOf(request),
    severity,
    stream: labelsOf({ node, probe, type: NAME, namespace }),
    metadata: labelsOf({
      pod,
      netns,
      severity,
      src: joinEndpoint(request.src, request.srcPort),
      dst: joinEndpoint(request.dst, request.dstPort),
      role,
      method,
      path,
      status: status === null ? 'none' : String(status),
      traceId,
      peer_kind: peer?.kind,
      peer_namespace: peer?.namespace,
      peer_name: peer?.name,
      peer_workload: peer?.workload,
      peer_service: peer?.service,
    } satisfies Record<RequestMetadata, string | null | undefined>),
    json,
    bytes: Buffer.byteLength(json),
  };
}
