import type { FlowRecord } from '#api/flows.ts';
import { joinEndpoint } from '#core/address.ts';
import { inertJson } from '#core/inert.ts';
import { timeNsOf } from '#core/kernel_time.ts';
import type { FlowMetadata, Kind } from '#core/record_kinds.ts';
import { type LaneRecord, labelsOf, type RecordKind } from '#delivery/record.ts';

const NAME: Kind = 'flow';
const VERSION = 1;

/** Converts flow records of closed connections to the records that sinks receive. */
export const FLOW_KIND: RecordKind<FlowRecord> = {
  name: NAME,
  version: VERSION,
  toRecord: (flow) => describe(flow, inertJson(JSON.stringify(flow))),
  restore: (version, json) => {
    if (version !== VERSION) return undefined;
    const flow = JSON.parse(json) as FlowRecord;
    if (typeof flow.src !== 'string' || typeof flow.dst !== 'string') throw new Error('a flow has two ends');
    return describe(flow, inertJson(json));
  },
};

/**
 * `type` distinguishes flows from events in Loki, where both have the job `netsonde`. `cause` has few values, but is
 * not a stream label because each value would create a separate stream.
 */
function describe(flow: FlowRecord, json: string): LaneRecord {
  const { probe, node, namespace, pod, netns, role, end, cause, failed, peer } = flow;
  const severity = failed ? 'warning' : 'info';
  return {
    kind: NAME,
    probe,
    timeNs: timeNsOf(flow),
    severity,
    stream: labelsOf({ node, probe, type: NAME, namespace }),
    metadata: labelsOf({
      pod,
      netns,
      severity,
      src: joinEndpoint(flow.src, flow.srcPort ?? undefined),
      dst: joinEndpoint(flow.dst, flow.dstPort),
      role,
      end,
      cause,
      peer_kind: peer?.kind,
      peer_namespace: peer?.namespace,
      peer_name: peer?.name,
      peer_workload: peer?.workload,
      peer_service: peer?.service,
    } satisfies Record<FlowMetadata, string | null | undefined>),
    json,
    bytes: Buffer.byteLength(json),
  };
}
