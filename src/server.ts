import { release } from 'node:os';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';
import express, { type Express, type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import type { AgentReport } from '#api/agent.ts';
import type { ConfigReport, ConfigStatus } from '#api/config.ts';
import type { EntitiesReport } from '#api/entities.ts';
import type { Failure } from '#api/errors.ts';
import type { ProbesReport } from '#api/probes.ts';
import type { SinksReport } from '#api/sinks.ts';
import type { Trouble } from '#api/trouble.ts';
import { CONTENT_TYPES } from '#collectors/exposition.ts';
import { withDeadline } from '#core/deadline.ts';
import type { Ledger } from '#delivery/ledger.ts';
import type { SinkSet } from '#delivery/sink_set.ts';
import type { EventBus } from '#events/bus.ts';
import type { AgentMetrics, AgentState, KubernetesState } from '#http/agent_metrics.ts';
import { serveEvents } from '#http/event_stream.ts';
import { ledgerReport, sourceRows } from '#http/ledger.ts';
import { chooseFormat, scrapeDeadlineMs } from '#http/scrape_request.ts';
import type { Scrapers } from '#http/scrapers.ts';
import type { KernelClient } from '#kernel/client.ts';
import { PROBES } from '#probes/index.ts';
import { servePage } from '#web/serve.ts';

export interface ServerDeps {
  readonly version: string;
  readonly kernel: Pick<KernelClient, 'ask' | 'ledger' | 'page' | 'restarts' | 'stuckThreads'>;
  readonly metrics: AgentMetrics;
  readonly scrapers: Scrapers;
  readonly bus: EventBus;
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
  /** How long the kernel thread may take for an answer of the API, in milliseconds. */
  readonly answerMs?: number;
}

const ANSWER_MS = 3_000;

const SUMMARIES: ReadonlyMap<string, string> = new Map(PROBES.map(({ name, summary }) => [name, summary]));

/**
 * The agent's HTTP interface. Read-only: everything but GET and HEAD is refused.
 * @param access lets requests for the API through, or answers them
 */
export function createApp(deps: ServerDeps, access: RequestHandler): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((request, response, next) => {
    if (request.method === 'GET' || request.method === 'HEAD') next();
    else
      response
        .set('Allow', 'GET, HEAD')
        .status(405)
        .json({ error: 'the interface is read-only' } satisfies Failure);
  });
  app.get('/metrics', (request, response) => serveMetrics(deps, request, response));
  app.get('/healthz', (_request, response) => void response.type('text').send('ok\n'));
  app.get('/readyz', (_request, response) => {
    const ready = deps.ready();
    response
      .status(ready ? 200 : 503)
      .type('text')
      .send(ready ? 'ok\n' : 'the first scan or the first configuration is not through yet\n');
  });
  app.use('/api', access);
  app.get('/api/v1/probes', async (_request, response) => {
    const [discovery, statuses] = await Promise.all([
      answer(deps, deps.kernel.ask('discovery', null)),
      answer(deps, deps.kernel.ask('probes', null)),
    ]);
    const probes = statuses.map((status) => ({
      ...status,
      summary: SUMMARIES.get(status.name) ?? '',
      until: deps.until(status.name),
    }));
    response.json({ discovery, probes } satisfies ProbesReport);
  });
  app.get('/api/v1/entities', async (_request, response) => {
    response.json({ entities: await answer(deps, deps.kernel.ask('entities', null)) } satisfies EntitiesReport);
  });
  app.get('/api/v1/trouble', async (_request, response) => {
    response.json((await answer(deps, deps.kernel.ask('trouble', null))) satisfies Trouble);
  });
  app.get('/api/v1/agent', (_request, response) => void response.json(agentReport(deps)));
  app.get('/api/v1/ledger', async (_request, response) => {
    const entries = await answer(deps, deps.kernel.ledger());
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
  app.get('/api/v1/events', (request, response) => serveEvents(deps.bus, request, response));
  app.get(['/', '/web/:name'], servePage);
  app.use((_request, response) => void response.status(404).json({ error: 'no such page' } satisfies Failure));
  app.use((error: Error, _request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) next(error);
    else response.status(503).json({ error: error.message } satisfies Failure);
  });
  return app;
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
  const format = chooseFormat(request.get('accept'));
  const timeout = request.get('x-prometheus-scrape-timeout-seconds');
  const askedMs = performance.now();
  const thread = deps.kernel.restarts;
  const hold = timeout === undefined ? undefined : deps.scrapers.asked(request.socket, thread);
  const scraping = hold && { holdMs: hold.holdMs, seenMs: hold.seen?.kernelMs };
  const { page, ageSeconds } = await deps.kernel.page(format, scrapeDeadlineMs(timeout), scraping);
  const { kernel, config, ledger, unfolded, sinks, version } = deps;
  const { successful, appliedMs, generation } = config();
  const state: AgentState = {
    version,
    pageAgeSeconds: ageSeconds,
    restarts: kernel.restarts,
    stuckThreads: kernel.stuckThreads,
    config: { successful, appliedMs, generation },
    sources: sourceRows(page.ledger, ledger.before()),
    unfolded: unfolded(),
    sinkLedger: sinks.rows(),
    sinks: sinks.statuses(),
    kubernetes: deps.kubernetes(),
  };
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
  await sendChunks(request, response, chunks);
}

/** Compressed at the lowest level where the client takes it: a tenth of the bytes for some milliseconds of another thread. */
async function sendChunks(request: Request, response: Response, chunks: readonly Uint8Array[]): Promise<void> {
  try {
    if (request.acceptsEncodings('gzip') === 'gzip') {
      response.set('Content-Encoding', 'gzip');
      await pipeline(Readable.from(chunks), createGzip({ level: constants.Z_BEST_SPEED }), response);
    } else {
      await pipeline(Readable.from(chunks), response);
    }
  } catch (error) {
    // A client that went away is no concern of ours.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  }
}

function answer<T>({ answerMs = ANSWER_MS }: ServerDeps, question: Promise<T>): Promise<T> {
  return withDeadline(question, answerMs, 'the kernel thread does not answer');
}
