import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ConfigStatus } from '#api/config.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import { CONTENT_TYPES } from '#collectors/exposition.ts';
import { deflate, gzipMember, textOf } from '#collectors/gzip.ts';
import { Cycle } from '#core/cycle.ts';
import type { Ledger } from '#delivery/ledger.ts';
import type { SinkSet } from '#delivery/sink_set.ts';
import type { KernelClient, PageCaller } from '#kernel/client.ts';
import type { Page } from '#kernel/messages.ts';
import type { ServiceWorkload } from '#peers/peer.ts';
import type { AgentMetrics, AgentState, KubernetesState } from './agent_metrics.ts';
import { callerOf } from './caller.ts';
import type { Connections } from './connections.ts';
import type { IncidentDeps } from './incidents.ts';
import { sourceRows } from './ledger.ts';
import type { PolicyState } from './policy_metrics.ts';
import type { Refusals } from './refusals.ts';
import { acceptsGzip, chooseFormat, scrapeDeadlineMs } from './scrape_request.ts';
import type { Scrapers } from './scrapers.ts';
import type { WebStatus } from './web_file.ts';

export interface MetricsDeps {
  readonly version: string;
  readonly kernel: Pick<KernelClient, 'page' | 'restarts' | 'stuckThreads'>;
  readonly metrics: AgentMetrics;
  readonly scrapers: Scrapers;
  readonly ledger: Pick<Ledger, 'before'>;
  /** Returns the number of events that were sent individually, that is, not folded into another event. */
  readonly unfolded: () => number;
  readonly incidents: IncidentDeps;
  /** Returns undefined unless events name policies. */
  readonly policies: () => PolicyState | undefined;
  readonly sinks: Pick<SinkSet, 'statuses' | 'rows'>;
  readonly config: () => ConfigStatus;
  /** Returns undefined if the agent does not use Kubernetes. */
  readonly kubernetes: () => KubernetesState | undefined;
  /** Returns the workloads behind Services; none if no metric names Services. */
  readonly serviceWorkloads: () => readonly ServiceWorkload[];
  readonly connections: Pick<Connections, 'count' | 'makeRoom' | 'unreadBytes'>;
  readonly refusals: Refusals;
  /** Returns undefined without a web configuration. */
  readonly web: () => WebStatus | undefined;
}

/** Serves `/metrics`. @throws if there is neither a fresh nor an earlier page */
export async function serveMetrics(
  deps: MetricsDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const caller = callerOf(request, response);
  try {
    await writeMetrics(deps, caller, request, response);
  } catch (error) {
    // If the client has disconnected, nobody can receive the error.
    if (!caller.signal.aborted) throw error;
  }
}

/** Sends the metrics page. @throws if the client disconnects */
async function writeMetrics(
  deps: MetricsDeps,
  caller: PageCaller,
  { headers, socket }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const format = chooseFormat(headers.accept);
  const isCompressed = acceptsGzip(headers['accept-encoding']);
  const timeout = headers['x-prometheus-scrape-timeout-seconds']?.toString();
  const askedMs = performance.now();
  const thread = deps.kernel.restarts;
  const hold = timeout === undefined ? undefined : deps.scrapers.asked(socket, thread);
  const scraping = hold && { holdMs: hold.holdMs, seenMs: hold.seen?.kernelMs };
  const options = { scraping, isCompressed };
  const { page, ageSeconds } = await deps.kernel.page(format, scrapeDeadlineMs(timeout), caller, options);
  caller.signal.throwIfAborted();
  const state = agentState(deps, page.ledger, ageSeconds);
  const view = hold && { askedMs, holdMs: hold.holdMs, seenMs: hold.seen?.agentMs };
  const agentMs = performance.now();
  const own = await deps.metrics.render(format, state, view);
  const pieces = isCompressed ? await compressed(own, page, caller) : [...own, ...textOf(page.content)];
  caller.signal.throwIfAborted();
  response.setHeader('Content-Type', CONTENT_TYPES[format]);
  response.setHeader('Vary', 'Accept, Accept-Encoding');
  if (ageSeconds > 0) response.setHeader('Age', String(Math.ceil(ageSeconds)));
  if (isCompressed) response.setHeader('Content-Encoding', 'gzip');
  response.setHeader('Content-Length', String(pieces.reduce((sum, { length }) => sum + length, 0)));
  // A cached page may lack series that later pages have, so it does not count as received by the scraper.
  const written = { thread, kernelMs: page.writtenMs, agentMs };
  if (hold !== undefined && ageSeconds === 0) response.once('finish', () => deps.scrapers.served(socket, written));
  deps.connections.makeRoom();
  // All pieces are written at once, so that `connections` counts all unsent bytes.
  for (const piece of pieces) response.write(piece);
  response.end();
}

/**
 * Compresses the page. The kernel thread's part is already compressed, unless that thread does not respond and its last
 * page was requested without compression.
 */
async function compressed(
  own: readonly Uint8Array[],
  { content }: Page,
  { signal }: PageCaller,
): Promise<Uint8Array[]> {
  const deflated = 'bytes' in content ? content : await deflate(content, new Cycle(signal));
  return [gzipMember(own, deflated)];
}

function agentState(deps: MetricsDeps, entries: readonly KernelLedgerEntry[], pageAgeSeconds: number): AgentState {
  const { kernel, config, connections, ledger, refusals, unfolded, incidents, sinks, version } = deps;
  const { successful, appliedMs, generation } = config();
  return {
    version,
    pageAgeSeconds,
    restarts: kernel.restarts,
    stuckThreads: kernel.stuckThreads,
    config: { successful, appliedMs, generation },
    sources: sourceRows(entries, ledger.before()),
    unfolded: unfolded(),
    incidents: incidents.current,
    policies: deps.policies(),
    sinkLedger: sinks.rows(),
    sinks: sinks.statuses(),
    kubernetes: deps.kubernetes(),
    serviceWorkloads: deps.serviceWorkloads(),
    http: {
      connections: connections.count,
      unreadBytes: connections.unreadBytes,
      refused: refusals.counts,
      web: deps.web(),
    },
  };
}
