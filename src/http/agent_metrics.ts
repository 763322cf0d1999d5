import type { SinkStatus } from '#api/sinks.ts';
import { INCIDENT_CAUSES, SINK_STATES } from '#api/words.ts';
import { Aggregator } from '#collectors/aggregate.ts';
import type { ScraperView } from '#collectors/births.ts';
import type { Format } from '#collectors/exposition.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';
import type { LedgerRow } from '#delivery/ledger.ts';
import type { ClusterState } from '#kubernetes/cluster.ts';
import type { ServiceWorkload } from '#peers/peer.ts';
import { defineMetrics, type Emit, type LooseEmit, NO_LABELS, NODE } from '#probe/metric.ts';
import { emitHttp, HTTP_METRICS, type HttpState } from './http_metrics.ts';
import type { IncidentDeps } from './incidents.ts';
import type { SourceRow } from './ledger.ts';
import { EVENT_METRICS, emitLedger, RECORD_METRICS } from './ledger_metrics.ts';
import { emitPolicies, POLICY_METRICS, type PolicyState } from './policy_metrics.ts';
import { ProcessMetrics } from './process_metrics.ts';

const AGENT = 'agent';

const SINK = { help: 'Name of the sink.', example: 'stdout', max: 16 } as const;

const RESOURCE = { help: 'Resource that is watched.', example: 'pods', max: 16 } as const;

const agent = { scope: 'agent', detail: 'core', source: 'agent' } as const;

/** Metrics of the agent's main thread. */
export const AGENT_METRICS = defineMetrics({
  buildInfo: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_build_info',
    help: 'Version of the agent and of Node.js.',
    labels: {
      version: { help: 'Version of the agent.', example: '0.1.0', max: 1 },
      node_version: { help: 'Version of Node.js.', example: '24.0.0', max: 1 },
    },
  },
  pageAge: {
    ...agent,
    type: 'gauge',
    unit: 'seconds',
    name: 'netsonde_page_age_seconds',
    help: 'Age of the other metrics in this response; 0 unless the kernel thread does not respond.',
    labels: {},
  },
  restarts: {
    ...agent,
    type: 'counter',
    name: 'netsonde_kernel_thread_restarts_total',
    help: 'Times that the kernel thread was replaced because it failed or hung.',
    labels: {},
  },
  stuck: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_kernel_threads_stuck',
    help: 'Replaced kernel threads that have not ended.',
    labels: {},
  },
  configSuccessful: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_config_last_reload_successful',
    help: '1 if every part of the agent applied the last configuration; 0 if it was invalid, so that the previous one stays active, or if a part failed to apply it.',
    labels: {},
  },
  configTime: {
    ...agent,
    type: 'gauge',
    unit: 'seconds',
    name: 'netsonde_config_last_reload_success_timestamp_seconds',
    help: 'Unix time at which a configuration was last applied.',
    labels: {},
  },
  configGeneration: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_config_generation',
    help: 'Number of configurations applied since the agent started.',
    labels: {},
  },
  ...HTTP_METRICS,
  ...EVENT_METRICS,
  ...RECORD_METRICS,
  ...POLICY_METRICS,
  connected: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_kubernetes_connected',
    help: '1 if the Pods of this node are watched. 0 if not, because the Kubernetes API does not respond correctly, has no node of this name, or the agent has no token; names are then the last known ones. /api/v1/agent gives the reason.',
    labels: {},
  },
  apiRequests: {
    ...agent,
    type: 'counter',
    name: 'netsonde_kubernetes_requests_total',
    help: 'Requests to the Kubernetes API, and errors that ended a watch.',
    labels: {
      resource: RESOURCE,
      verb: { help: 'Verb of the request.', values: ['list', 'watch'] },
      code: { help: 'HTTP status, or `error` if there was no response.', example: '200', max: 64 },
    },
  },
  apiRelists: {
    ...agent,
    type: 'counter',
    name: 'netsonde_kubernetes_relists_total',
    help: 'Lists that were fetched again from the Kubernetes API, after a failure or periodically.',
    labels: { resource: RESOURCE },
  },
  apiAge: {
    ...agent,
    type: 'gauge',
    unit: 'seconds',
    name: 'netsonde_kubernetes_sync_age_seconds',
    help: 'Time since the last message about the resource. A watch without changes gets a bookmark every minute.',
    labels: { resource: RESOURCE },
  },
  apiObjects: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_kubernetes_objects',
    help: 'Objects of the Kubernetes API in memory.',
    labels: { resource: RESOURCE },
  },
  peerAddresses: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_peer_addresses',
    help: 'Addresses of Pods, Services and nodes whose owners are known.',
    labels: {},
  },
  peerAddressesLeftOut: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_peer_addresses_left_out',
    help: 'Addresses that did not fit in memory, so their owners are unknown.',
    labels: {},
  },
  serviceWorkloads: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_service_workload_info',
    help: 'Services whose Pods on this node all belong to one workload, while the probe `flow` is enabled. The value is 1.',
    labels: {
      peer_namespace: { help: 'Namespace of the Service and of the workload.', example: 'shop', max: 256 },
      peer: { help: 'Name of the Service, as in the metrics of `flow`.', example: 'cart', max: 1_024 },
      workload: { help: 'Name of the workload.', example: 'cart', max: 1_024 },
    },
  },
  incidents: {
    ...agent,
    type: 'counter',
    name: 'netsonde_incidents_total',
    help: 'Incidents: connections between a client and a port of a server with events of one cause. An incident that turns out to have a stronger cause counts for both.',
    labels: { cause: { help: 'Cause of the incident.', values: INCIDENT_CAUSES } },
  },
  incidentsOpen: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_incidents_open',
    help: 'Incidents that have not ended.',
    labels: {},
  },
  incidentsLeftOut: {
    ...agent,
    type: 'counter',
    name: 'netsonde_incidents_left_out_events_total',
    help: 'Events that belong to no incident because too many incidents were open.',
    labels: {},
  },
  sinkState: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_sink_state',
    help: '1 for the current state of the sink; /api/v1/sinks gives the reason.',
    labels: { sink: SINK, state: { help: 'State of the sink.', values: SINK_STATES } },
  },
  sinkBytes: {
    ...agent,
    type: 'gauge',
    unit: 'bytes',
    name: 'netsonde_sink_pending_bytes',
    help: 'Size of the records that wait for the sink.',
    labels: { sink: SINK },
  },
  sinkRetries: {
    ...agent,
    type: 'counter',
    name: 'netsonde_sink_retries_total',
    help: 'Retries of failed writes to the sink.',
    labels: { sink: SINK },
  },
});

export type KubernetesState = ClusterState;

type AgentEmit = Emit<typeof AGENT_METRICS>;

export interface AgentState {
  readonly version: string;
  readonly pageAgeSeconds: number;
  readonly restarts: number;
  readonly stuckThreads: number;
  readonly config: { readonly successful: boolean; readonly appliedMs: number; readonly generation: number };
  readonly sources: readonly SourceRow[];
  readonly unfolded: number;
  readonly incidents: IncidentDeps['current'];
  /** Undefined unless events name policies. */
  readonly policies: PolicyState | undefined;
  readonly sinkLedger: readonly LedgerRow[];
  readonly kubernetes: KubernetesState | undefined;
  readonly serviceWorkloads: readonly ServiceWorkload[];
  readonly sinks: readonly SinkStatus[];
  readonly http: HttpState;
}

/**
 * Renders the main thread's part of the metrics page: metrics of the agent and of its process. The kernel thread's part
 * follows it.
 */
export class AgentMetrics {
  readonly #aggregator = new Aggregator([AGENT], () => false);
  readonly #process = new ProcessMetrics();

  constructor() {
    this.#aggregator.addProbe(AGENT, AGENT_METRICS, 'full');
  }

  /** @param view set if the page is for a scraper */
  async render(format: Format, state: AgentState, view?: ScraperView): Promise<Uint8Array[]> {
    const batch = this.#aggregator.begin(AGENT);
    emitState(batch.emit as AgentEmit, state);
    batch.commit();
    const writer = new TextWriter();
    await this.#aggregator.render(writer, format, freeCycle(), view);
    this.#process.write(writer, format);
    return writer.finish();
  }
}

function emitState(emit: AgentEmit, state: AgentState): void {
  emit('buildInfo', NODE, 1, { version: state.version, node_version: process.versions.node });
  emit('pageAge', NODE, state.pageAgeSeconds, NO_LABELS);
  emit('restarts', NODE, state.restarts, NO_LABELS);
  emit('stuck', NODE, state.stuckThreads, NO_LABELS);
  emit('configSuccessful', NODE, state.config.successful ? 1 : 0, NO_LABELS);
  emit('configTime', NODE, state.config.appliedMs / 1000, NO_LABELS);
  emit('configGeneration', NODE, state.config.generation, NO_LABELS);
  emitHttp(emit as LooseEmit, state.http);
  emit('unfolded', NODE, state.unfolded, NO_LABELS);
  emitIncidents(emit, state.incidents);
  if (state.policies !== undefined) emitPolicies(emit as LooseEmit, state.policies);
  emitLedger(emit as LooseEmit, state.sources, state.sinkLedger);
  for (const { name: sink, state: current, pendingBytes, retries } of state.sinks) {
    for (const candidate of SINK_STATES) {
      emit('sinkState', NODE, candidate === current ? 1 : 0, { sink, state: candidate });
    }
    emit('sinkBytes', NODE, pendingBytes, { sink });
    emit('sinkRetries', NODE, retries, { sink });
  }
  if (state.kubernetes !== undefined) emitKubernetes(emit, state.kubernetes);
  for (const { namespace, service, workload } of state.serviceWorkloads) {
    emit('serviceWorkloads', NODE, 1, { peer_namespace: namespace, peer: service, workload });
  }
}

function emitIncidents(emit: AgentEmit, { totals, open, leftOut }: AgentState['incidents']): void {
  for (const cause of INCIDENT_CAUSES) emit('incidents', NODE, totals.get(cause) ?? 0, { cause });
  emit('incidentsOpen', NODE, open, NO_LABELS);
  emit('incidentsLeftOut', NODE, leftOut, NO_LABELS);
}

function emitKubernetes(emit: AgentEmit, state: KubernetesState): void {
  emit('connected', NODE, state.connected ? 1 : 0, NO_LABELS);
  for (const { resource, requests, relists, objects, heardMs } of state.resources) {
    for (const [request, count] of requests) {
      const [verb, code = ''] = request.split(' ');
      emit('apiRequests', NODE, count, { resource, verb: verb === 'list' ? 'list' : 'watch', code });
    }
    emit('apiRelists', NODE, relists, { resource });
    emit('apiObjects', NODE, objects, { resource });
    if (heardMs !== undefined) emit('apiAge', NODE, (performance.now() - heardMs) / 1000, { resource });
  }
  emit('peerAddresses', NODE, state.addresses, NO_LABELS);
  emit('peerAddressesLeftOut', NODE, state.addressesLeftOut, NO_LABELS);
}
