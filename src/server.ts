import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { release } from 'node:os';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { AgentReport } from '#api/agent.ts';
import type { ConfigReport } from '#api/config.ts';
import type { EntitiesReport } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { FlowRecord } from '#api/flows.ts';
import type { ProbesReport } from '#api/probes.ts';
import type { RequestRecord } from '#api/requests.ts';
import type { SinksReport } from '#api/sinks.ts';
import type { Trouble } from '#api/trouble.ts';
import { DeadlineError, withDeadline } from '#core/deadline.ts';
import { BusyError, Turns } from '#core/turns.ts';
import type { RecordBus } from '#events/bus.ts';
import type { Access, Handler } from '#http/access.ts';
import { callerOf } from '#http/caller.ts';
import type { Connections } from '#http/connections.ts';
import { serveCounters } from '#http/counters.ts';
import { serveEvents } from '#http/event_stream.ts';
import { sendFailure } from '#http/failure.ts';
import { sendNoFlows, serveFlowStream, serveFlows } from '#http/flows.ts';
import type { Followers } from '#http/followers.ts';
import { serveIncidentStream, serveIncidents } from '#http/incidents.ts';
import { ledgerReport, sourceRows } from '#http/ledger.ts';
import { type MetricsDeps, serveMetrics } from '#http/metrics.ts';
import { pathOf } from '#http/origin.ts';
import { serveRequestStream } from '#http/requests.ts';
import { type KernelClient, NoThreadError } from '#kernel/client.ts';
import type { ServiceWorkload } from '#peers/peer.ts';
import { PROBES } from '#probes/index.ts';
import { servePage } from '#web/serve.ts';

export interface ServerDeps extends MetricsDeps {
  readonly kernel: MetricsDeps['kernel'] & Pick<KernelClient, 'ask' | 'ledger'>;
  readonly connections: MetricsDeps['connections'] & Pick<Connections, 'whenCalm'>;
  readonly bus: RecordBus<EventRecord>;
  /** Records of ended connections. */
  readonly flows: RecordBus<FlowRecord>;
  /** Records of HTTP requests. */
  readonly requests: RecordBus<RequestRecord>;
  /** Returns the workloads behind Services, as far as they are known. */
  readonly services: () => readonly ServiceWorkload[];
  readonly followers: Followers;
  /** The active configuration, as a document. */
  readonly document: () => ConfigReport['document'];
  /** Name of this node. */
  readonly node: string;
  readonly started: Date;
  /** Name of the abstract Unix socket on which commands announce themselves. */
  readonly toolSocket: string;
  /** Returns whether the first scan is done and the first configuration is applied. */
  readonly ready: () => boolean;
  /** Returns the RFC 3339 time at which the next section of a probe expires; null if no section expires. */
  readonly until: (probe: string) => string | null;
  readonly warn: (message: string) => void;
  /** Time in milliseconds within which the kernel thread must answer an API request. */
  readonly answerMs?: number;
}

const ANSWER_MS = 3_000;
/** Maximum number of API requests that the kernel thread handles at the same time. */
const QUESTIONS_MAX = 4;

const SUMMARIES: ReadonlyMap<string, string> = new Map(PROBES.map(({ name, summary }) => [name, summary]));

/**
 * Returns the listener of the agent's HTTP interface, which refuses every method except GET and HEAD.
 * @param access rules that determine which clients may read which paths
 */
export function createListener(deps: ServerDeps, access: Access, app = createApp(deps, access)): RequestListener {
  return (request, response) => {
    const { url = '', socket } = request;
    const answer = () => (METRICS.test(url) ? scrape(deps, access, request, response) : void app(request, response));
    if (HEALTH.test(url)) answer();
    else deps.connections.whenCalm(() => socket.destroyed || answer());
  };
}

/** Path of the metrics, in the form that scrapers request. */
const METRICS = /^\/metrics(?:\?|$)/;
/**
 * Paths of the kubelet's health checks, which are answered immediately. All other requests wait for the end of a burst
 * of connections, because most of these connections are closed by then.
 */
const HEALTH = /^\/(?:healthz|readyz)(?:\?|$)/;

/** Serves METRICS without Express, whose request and response objects cost main-thread time for each page. */
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

/** Refuses every method except GET and HEAD. */
const readOnly: Handler = ({ method }, response, next) => {
  if (method === 'GET' || method === 'HEAD') return next();
  response.setHeader('Allow', 'GET, HEAD').setHeader('Connection', 'close');
  sendFailure(response, 405, 'the interface is read-only');
};

/** Returns the Express application with all routes. */
export function createApp(deps: ServerDeps, access: Access): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(readOnly);
  app.use(access.all);
  // Serves other spellings of the path, such as a whole URL, capital letters or a trailing slash.
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

/**
 * Returns the kubelet's endpoints. They have their own address, because the kubelet has neither a password nor a
 * certificate.
 */
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
  /** Sends a request to the kernel thread when it is the client's turn. @throws if there is no answer in time */
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
  app.get('/api/v1/counters', (request, response) =>
    serveCounters((selection) => answer(request, response, () => kernel.ask('counters', selection)), request, response),
  );
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
  app.get('/api/v1/incidents', (request, response) => serveIncidents(deps.incidents, request, response));
  app.get('/api/v1/incidents/stream', (request, response) => serveIncidentStream(deps, request, response));
  app.get('/api/v1/flows', (request, response) =>
    serveFlows((selection) => answer(request, response, () => kernel.ask('flows', selection)), request, response),
  );
  app.get('/api/v1/map', async (request, response) => {
    const said = await answer(request, response, () => kernel.ask('map', deps.services()));
    if ('unavailable' in said) sendNoFlows(response, said);
    else response.json(said.report);
  });
  app.get('/api/v1/flows/stream', (request, response) => serveFlowStream(deps, request, response));
  app.get('/api/v1/requests/stream', (request, response) => serveRequestStream(deps, request, response));
}

const TOLD = [BusyError, DeadlineError, NoThreadError];

/**
 * Sends the message of an error to the client if it is useful there. Any other message goes only to the log, because it
 * may contain a path on this machine.
 */
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
  warn(`request for ${pathOf(request)} failed: ${error.message}`);
  sendFailure(response, 503, 'the agent failed to respond; see its log for the reason');
}

function agentReport({ node, version, started, toolSocket, kubernetes }: ServerDeps): AgentReport {
  const cluster = kubernetes();
  return {
    node,
    version,
    kernel: release(),
    started: started.toISOString(),
    now: new Date().toISOString(),
    toolSocket,
    kubernetes: cluster === undefined ? null : { connected: cluster.connected, trouble: cluster.trouble ?? null },
  };
}
