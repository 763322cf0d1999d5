import type { Incident } from '#api/incidents.ts';
import { inertJson } from '#core/inert.ts';
import { timeNsOf } from '#core/kernel_time.ts';
import type { IncidentMetadata, Kind } from '#core/record_kinds.ts';
import { type LaneRecord, labelsOf, type RecordKind } from '#delivery/record.ts';

const NAME: Kind = 'incident';
const VERSION = 1;
/** Source of incidents in the ledger, where other records have the name of a probe. */
export const INCIDENT_SOURCE = { kind: NAME, probe: 'incidents' };

/** Converts incidents to the records that sinks receive. */
export const INCIDENT_KIND: RecordKind<Incident> = {
  name: NAME,
  version: VERSION,
  toRecord: (incident) => describe(incident, inertJson(JSON.stringify(incident))),
  restore: (version, json) => {
    if (version !== VERSION) return undefined;
    const incident = JSON.parse(json) as Incident;
    if (!Array.isArray(incident.connectionIds)) throw new Error('an incident has connections');
    return describe(incident, inertJson(json));
  },
};

function describe(incident: Incident, json: string): LaneRecord {
  const { severity, node, namespace, pod, src, dst, protocol, cause, state, client, server } = incident;
  return {
    ...INCIDENT_SOURCE,
    timeNs: timeNsOf(incident),
    severity,
    stream: labelsOf({ node, type: NAME, namespace }),
    metadata: labelsOf({
      pod,
      severity,
      src,
      dst,
      protocol,
      connectionId: incident.connectionIds[0],
      cause,
      state,
      client_namespace: client?.namespace,
      client_name: client?.name,
      server_namespace: server?.namespace,
      server_name: server?.name,
    } satisfies Record<IncidentMetadata, string | null | undefined>),
    json,
    bytes: Buffer.byteLength(json),
  };
}
