import { release } from 'node:os';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { AgentReport } from '#api/agent.ts';
import type { ConfigReport, ConfigStatus } from '#api/config.ts';
import type { EntitiesReport } from '#api/entities.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { ProbesReport } from '#api/probes.ts';
import type { SinksReport } from '#api/sinks.ts';
import type { Trouble } from '#api/trouble.ts';
import { CONTENT_TYPES } from '#collectors/exposition.ts';
import { DeadlineError, withDeadline } from '#core/deadline.ts';
import { BusyError, Turns } from '#core/turns.ts';
import type { Ledger } from '#delivery/ledger.ts';
import type { SinkSet } from '#delivery/sink_set.ts';
import type { EventBus } from '#events/bus.ts';
import type { Access } from '#http/access.ts';
import type { AgentMetrics, AgentState, KubernetesState } from '#http/agent_metrics.ts';
import { callerOf } from '#http/caller.ts';
import type { Connections } from '#http/connections.ts';
import { serveEvents } from '#http/event_stream.ts';
import { sendFailure } from '#http/failure.ts';
import type { Followers } from '#http/followers.ts';
import { gzip } from '#http/gzip.ts';
import { ledgerReport, sourceRows } from '#http/ledger.ts';
import type { Refusals } from '#http/refusals.ts';
import { chooseFormat, scrapeDeadlineMs } from '#http/scrape_request.ts';
import type { Scrapers } from '#http/scrapers.ts';
import type { WebStatus } from '#http/web_file.ts';
import { type KernelClient, NoThreadError, type PageCaller } from '#kernel/client.ts';
import { PROBES } from '#probes/index.ts';
import { servePage } from '#web/serve.ts';

export interface ServerDeps {
  readonly version: string;
  readonly kernel: Pick<KernelClient, 'ask' | 'ledger' | 'page' | 'restarts' | 'stuckThreads'>;
  readonly metrics: AgentMetrics;
  readonly scrapers: Scrapers;
  readonly bus: EventBus;
  readonly followers: Followers;
  readonly ledger: Pick<Ledger, 'before'>;
  /** Events that were not compared with others. */
  readonly unfolded: () => number;
  readonly sinks: Pick<SinkSet, 'statuses' | 'rows'>;
  readonly config: () => ConfigStatus;
  /** The configuration in force, as a document. */
  readonly document: () => ConfigReport['document'];
  /** Name of this node. */
  readonly node: string;
  readonly started: Date;
  /** Undefined outside of Kubernetes. */
  readonly kubernetes: () => KubernetesState | undefined;
  /** The first scan is done and the first configuration applied. */
  readonly ready: () => boolean;
  /** RFC 3339: when the probe reverts by itself; null: not. */
  readonly until: (probe: string) => string | null;
  readonly connections: Pick<Connections, 'count' | 'makeRoom' | 'unreadBytes'>;
  readonly refusals: Refusals;
  readonly warn: (message: string) => void;
  /** Undefined where there is no web configuration. */
  readonly web: () => WebStatus | undefined;
  /** How long the kernel thread may take for an answer of the API, in milliseconds. */
  readonly answerMs?: number;
}

const ANSWER_MS = 3_000;
/** Questions of the API that the kernel thread is asked at a time. */
const QUESTIONS_MAX = 4;

const SUMMARIES: ReadonlyMap<string, string> = new Map(PROBES.map(({ name, summary }) => [name, summary]));

/**
 * The agent's HTTP interface. Read-only: everything but GET and HEAD is refused.
 * @param access who may read what
 */
export function createApp(deps: ServerDeps, access: Access): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((request, response, next) => {
    if (request.method === 'GET' || request.method === 'HEAD') next();
    else {
      response.set('Allow', 'GET, HEAD').set('Connection', 'close');
      sendFailure(response, 405, 'the interface is read-only');
    }
  });
  app.use(access.all);
  app.get('/metrics', (request, response) => serveMetrics(deps, request, response));
  serveHealth(app, deps);
  app.use('/api', access.api);
  serveApi(app, deps);
  app.get(['/', '/web/:name'], servePage);
  app.use((_request, response) => sendFailure(response, 404, 'no such page'));
  app.use((error: Error, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) next(error);
    else answerError(deps, error, request, response);
  });
  return app;
}

/** What the kubelet asks, for an address of its own: it has neither a password nor a certificate. */
export function createHealthApp(deps: Pick<ServerDeps, 'ready'>): Express {
  const app = express().disable('x-powered-by').disable('etag');
  serveHealth(app, deps);
  return app.use((_request, response) => sendFailure(response, 404, 'here are /healthz and /readyz only'));
}

function serveHealth(app: Express, { ready }: Pick<ServerDeps, 'ready'>): void {
  app.get('/healthz', (_request, response) => void response.type('text').send('ok\n'));
  app.get('/readyz', (_request, response) => {
    const isReady = ready();
    response
      .status(isReady ? 200 : 503)
      .type('text')
      .send(isReady ? 'ok\n' : 'the first scan or the first configuration is not through yet\n');
  });
}

function serveApi(app: Express, deps: ServerDeps): void {
  const { kernel } = deps;
  const turns = new Turns(QUESTIONS_MAX);
  /** What the kernel thread says, in turn. */
  const answer = async <T>(request: Request, response: Response, ask: () => Promise<T>): Promise<T> => {
    const { answerMs = ANSWER_MS } = deps;
    const { owner, signal } = callerOf(request, response);
    const said = await withDeadline(
      turns.run(owner, ask, { signal, waitMs: answerMs }),
      answerMs,
      'the kernel thread does not answer',
    );
    signal.throwIfAborted();
    deps.connections.makeRoom();
    return said;
  };
  app.get('/api/v1/probes', async (request, response) => {
    const [discovery, statuses] = await answer(request, response, () =>
      Promise.all([kernel.ask('discovery', null), kernel.ask('probes', null)]),
    );
    const probes = statuses.map((status) => ({
      ...status,
      summary: SUMMARIES.get(status.name) ?? '',
      until: deps.until(status.name),
    }));
    response.json({ discovery, probes } satisfies ProbesReport);
  });
  app.get('/api/v1/entities', async (request, response) => {
    const entities = await answer(request, response, () => kernel.ask('entities', null));
    response.json({ entities } satisfies EntitiesReport);
  });
  app.get('/api/v1/trouble', async (request, response) => {
    response.json((await answer(request, response, () => kernel.ask('trouble', null))) satisfies Trouble);
  });
  app.get('/api/v1/agent', (_request, response) => void response.json(agentReport(deps)));
  app.get('/api/v1/ledger', async (request, response) => {
    const entries = await answer(request, response, () => kernel.ledger());
    response.json(ledgerReport(sourceRows(entries, deps.ledger.before()), deps.sinks.rows()));
  });
  app.get(
    '/api/v1/sinks',
    (_request, response) => void response.json({ sinks: deps.sinks.statuses() } satisfies SinksReport),
  );
  app.get(
    '/api/v1/config',
    (_request, response) => void response.json({ ...deps.config(), document: deps.document() } satisfies ConfigReport),
  );
  app.get('/api/v1/events', (request, response) => serveEvents(deps, request, response));
}

const TOLD = [BusyError, DeadlineError, NoThreadError];

/** What failed is told where it helps who asks. A path of the machine may be in all else: that is for the log. */
function answerError({ refusals, warn }: ServerDeps, error: Error, request: Request, response: Response): void {
  const { status } = error as { status?: unknown };
  if (response.destroyed) return;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    sendFailure(response, status, 'the path or the query is malformed');
    return;
  }
  if (error instanceof BusyError) refusals.count('busy');
  if (TOLD.some((kind) => error instanceof kind)) {
    sendFailure(response, 503, error.message);
    return;
  }
  warn(`${request.path} was not answered: ${error.message}`);
  sendFailure(response, 503, 'the agent failed to answer; its log says why');
}

function agentReport({ node, version, started, kubernetes }: ServerDeps): AgentReport {
  const cluster = kubernetes();
  return {
    node,
    version,
    kernel: release(),
    started: started.toISOString(),
    now: new Date().toISOString(),
    kubernetes: cluster === undefined ? null : { connected: cluster.connected, trouble: cluster.trouble ?? null },
  };
}

async function serveMetrics(deps: ServerDeps, request: Request, response: Response): Promise<void> {
  const caller = callerOf(request, response);
  try {
    await writeMetrics(deps, caller, request, response);
  } catch (error) {
    // Nobody is there to be told.
    if (!caller.signal.aborted) throw error;
  }
}

/** @throws where the client has gone */
async function writeMetrics(deps: ServerDeps, caller: PageCaller, request: Request, response: Response): Promise<void> {
  const format = chooseFormat(request.get('accept'));
  const timeout = request.get('x-prometheus-scrape-timeout-seconds');
  const askedMs = performance.now();
  const thread = deps.kernel.restarts;
  const hold = timeout === undefined ? undefined : deps.scrapers.asked(request.socket, thread);
  const scraping = hold && { holdMs: hold.holdMs, seenMs: hold.seen?.kernelMs };
  const { page, ageSeconds } = await deps.kernel.page(format, scrapeDeadlineMs(timeout), caller, scraping);
  caller.signal.throwIfAborted();
  const state = agentState(deps, page.ledger, ageSeconds);
  const view = hold && { askedMs, holdMs: hold.holdMs, seenMs: hold.seen?.agentMs };
  const agentMs = performance.now();
  const chunks = [...page.chunks, ...(await deps.metrics.render(format, state, view))];
  response.set('Content-Type', CONTENT_TYPES[format]);
  response.set('Vary', 'Accept, Accept-Encoding');
  if (ageSeconds > 0) response.set('Age', String(Math.ceil(ageSeconds)));
  // An old page shows nobody what is new.
  const written = { thread, kernelMs: page.writtenMs, agentMs };
  if (hold !== undefined && ageSeconds === 0)
    response.once('finish', () => deps.scrapers.served(request.socket, written));
  await sendChunks(deps, caller, request, response, chunks);
}

function agentState(deps: ServerDeps, entries: readonly KernelLedgerEntry[], pageAgeSeconds: number): AgentState {
  const { kernel, config, connections, ledger, refusals, unfolded, sinks, version } = deps;
  const { successful, appliedMs, generation } = config();
  return {
    version,
    pageAgeSeconds,
    restarts: kernel.restarts,
    stuckThreads: kernel.stuckThreads,
    config: { successful, appliedMs, generation },
    sources: sourceRows(entries, ledger.before()),
    unfolded: unfolded(),
    sinkLedger: sinks.rows(),
    sinks: sinks.statuses(),
    kubernetes: deps.kubernetes(),
    http: {
      connections: connections.count,
      unreadBytes: connections.unreadBytes,
      refused: refusals.counts,
      web: deps.web(),
    },
  };
}

/** Compressed where the client takes it. */
async function sendChunks(
  { connections }: ServerDeps,
  { signal }: PageCaller,
  request: Request,
  response: Response,
  chunks: readonly Uint8Array[],
): Promise<void> {
  const isCompressed = request.acceptsEncodings('gzip') === 'gzip';
  const pieces = isCompressed ? await gzip(chunks, signal) : chunks;
  signal.throwIfAborted();
  if (isCompressed) response.set('Content-Encoding', 'gzip');
  response.set('Content-Length', String(pieces.reduce((sum, { length }) => sum + length, 0)));
  connections.makeRoom();
  // All at once: what the client has not taken is counted there.
  for (const piece of pieces) response.write(piece);
  response.end();
}
