import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { release } from 'node:os';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { AgentReport } from '#api/agent.ts';
import type { ConfigReport } from '#api/config.ts';
import type { EntitiesReport } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { FlowRecord } from '#api/flows.ts';
import type { ProbesReport } from '#api/probes.ts';
import type { SinksReport } from '#api/sinks.ts';
import type { Trouble } from '#api/trouble.ts';
import { DeadlineError, withDeadline } from '#core/deadline.ts';
import { BusyError, Turns } from '#core/turns.ts';
import type { RecordBus } from '#events/bus.ts';
import type { Access, Handler } from '#http/access.ts';
import { callerOf } from '#http/caller.ts';
import type { Connections } from '#http/connections.ts';
import { serveEvents } from '#http/event_stream.ts';
import { sendFailure } from '#http/failure.ts';
import { serveFlowStream, serveFlows } from '#http/flows.ts';
import type { Followers } from '#http/followers.ts';
import { ledgerReport, sourceRows } from '#http/ledger.ts';
import { type MetricsDeps, serveMetrics } from '#http/metrics.ts';
import { pathOf } from '#http/origin.ts';
import { type KernelClient, NoThreadError } from '#kernel/client.ts';
import { PROBES } from '#probes/index.ts';
import { servePage } from '#web/serve.ts';

export interface ServerDeps extends MetricsDeps {
  readonly kernel: MetricsDeps['kernel'] & Pick<KernelClient, 'ask' | 'ledger'>;
  readonly connections: MetricsDeps['connections'] & Pick<Connections, 'whenCalm'>;
  readonly bus: RecordBus<EventRecord>;
  /** Records of ended connections. */
  readonly flows: RecordBus<FlowRecord>;
  readonly followers: Followers;
  /** The active configuration, as a document. */
  readonly document: () => ConfigReport['document'];
  /** Name of this node. */
  readonly node: string;
  readonly started: Date;
  /** The first scan is done and the first configuration applied. */
  readonly ready: () => boolean;
  /** Time in RFC 3339 when the probe reverts by itself; null where it does not. */
  readonly until: (probe: string) => string | null;
  readonly warn: (message: string) => void;
  /** Milliseconds that the kernel thread may take for an answer of the API. */
  readonly answerMs?: number;
}

const ANSWER_MS = 3_000;
/** API requests that the kernel thread handles at the same time. */
const QUESTIONS_MAX = 4;

const SUMMARIES: ReadonlyMap<string, string> = new Map(PROBES.map(({ name, summary }) => [name, summary]));

/**
 * The agent's HTTP interface. Read-only: every method but GET and HEAD is refused.
 * @param access rules of who may read which path
 */
export function createListener(deps: ServerDeps, access: Access, app = createApp(deps, access)): RequestListener {
  return (request, response) => {
    const { url = '', socket } = request;
    const answer = () => (METRICS.test(url) ? scrape(deps, access, request, response) : void app(request, response));
    if (HEALTH.test(url)) answer();
    else deps.connections.whenCalm(() => socket.destroyed || answer());
  };
}

/** In the spelling of scrapers. */
const METRICS = /^\/metrics(?:\?|$)/;
/** Requests of the kubelet are answered at once. All others wait for the end of a burst: most of its connections are closed by then. */
const HEALTH = /^\/(?:healthz|readyz)(?:\?|$)/;

/** The route below without Express, whose request and response take a part of the main thread's time for a page. */
function scrape(deps: ServerDeps, access: Access, request: IncomingMessage, response: ServerResponse): void {
  const guarded = async (work: () => void | Promise<void>) => {
    try {
      await work();
    } catch (error) {
      if (response.headersSent) response.destroy();
      else answerError(deps, error as Error, request, response);
    }
  };
  const serve = () => guarded(() => serveMetrics(deps, request, response));
  readOnly(request, response, () => guarded(() => access.all(request, response, serve)));
}

/** Continues for GET and HEAD only. */
const readOnly: Handler = ({ method }, response, next) => {
  if (method === 'GET' || method === 'HEAD') return next();
  response.setHeader('Allow', 'GET, HEAD').setHeader('Connection', 'close');
  sendFailure(response, 405, 'the interface is read-only');
};

/** Adds every route. */
export function createApp(deps: ServerDeps, access: Access): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(readOnly);
  app.use(access.all);
  // In other spellings: a whole URL, capital letters, a slash at the end.
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

/** Returns the kubelet's endpoints, for an address of their own: the kubelet has neither a password nor a certificate. */
export function createHealthApp(deps: Pick<ServerDeps, 'ready'>): Express {
  const app = express().disable('x-powered-by').disable('etag');
  serveHealth(app, deps);
  return app.use((_request, response) => sendFailure(response, 404, 'this address has only /healthz and /readyz'));
}

function serveHealth(app: Express, { ready }: Pick<ServerDeps, 'ready'>): void {
  app.get('/healthz', (_request, response) => void response.type('text').send('ok\n'));
  app.get('/readyz', (_request, response) => {
    const isReady = ready();
    response
      .status(isReady ? 200 : 503)
      .type('text')
      .send(isReady ? 'ok\n' : 'the first scan or the first configuration is not done yet\n');
  });
}

function serveApi(app: Express, deps: ServerDeps): void {
  const { kernel } = deps;
  const turns = new Turns(QUESTIONS_MAX);
  /** Requests the kernel thread's answers in turn. */
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
  app.get('/api/v1/flows', (request, response) =>
    serveFlows((selection) => answer(request, response, () => kernel.ask('flows', selection)), request, response),
  );
  app.get('/api/v1/flows/stream', (request, response) => serveFlowStream(deps, request, response));
}

const TOLD = [BusyError, DeadlineError, NoThreadError];

/** Failures are reported to the client where that helps. All others may contain a path of the machine: these go to the log. */
function answerError(
  { refusals, warn }: ServerDeps,
  error: Error,
  request: IncomingMessage,
  response: ServerResponse,
): void {
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
  warn(`${pathOf(request)} was not answered: ${error.message}`);
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
