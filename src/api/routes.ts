import type * as z from 'zod';
import { AGENT_REPORT } from './agent.ts';
import { CONFIG_REPORT } from './config.ts';
import { ENTITIES_REPORT } from './entities.ts';
import { EVENT } from './events.ts';
import { EVENTS_QUERY } from './events_query.ts';
import { FLOW_RECORD, FLOWS_REPORT } from './flows.ts';
import { FLOW_STREAM_QUERY, FLOWS_QUERY } from './flows_query.ts';
import { LEDGER_REPORT } from './ledger.ts';
import { PROBES_REPORT } from './probes.ts';
import { SINKS_REPORT } from './sinks.ts';
import { TROUBLE } from './trouble.ts';

export interface Route {
  readonly path: string;
  /** Description of the route in one sentence, for the documentation. */
  readonly summary: string;
  /** Schema of the query parameters. If undefined, query parameters are ignored. */
  readonly query?: z.ZodObject;
  /** Schema of the JSON response body. For a stream, schema of each record in it. */
  readonly answer: z.ZodType;
  /** Whether the response is a stream of server-sent events or of JSON lines. */
  readonly isStream?: boolean;
  /** Descriptions of the status codes specific to this route. */
  readonly statuses: Readonly<Record<number, string>>;
}

/** Descriptions of the status codes that every route may return, except 200. */
export const COMMON_STATUSES: Readonly<Record<number, string>> = {
  400: 'The `Host` header is invalid, or there are several.',
  401: 'The bearer token, or the password from the web configuration, is missing or wrong.',
  403: 'The API is not served to this client address, under this host name, or to pages of other sites.',
  405: 'The method is neither `GET` nor `HEAD`.',
  503: 'The token file cannot be read, or the server was too busy with other clients.',
};

const HUNG = { 503: 'The kernel thread hangs or is being replaced.' };

/** All routes under `/api/v1`. */
export const ROUTES: readonly Route[] = [
  {
    path: '/api/v1/agent',
    summary: 'Names the node and the agent, and says whether the Kubernetes API is connected.',
    answer: AGENT_REPORT,
    statuses: {},
  },
  {
    path: '/api/v1/probes',
    summary: 'Lists the probes, with the purpose, state, reason, method of reading and cost of each.',
    answer: PROBES_REPORT,
    statuses: HUNG,
  },
  {
    path: '/api/v1/entities',
    summary: 'Lists the node, Pods, containers, namespaces and processes that metrics belong to, with their addresses.',
    answer: ENTITIES_REPORT,
    statuses: HUNG,
  },
  {
    path: '/api/v1/trouble',
    summary: 'Sums the counters that indicate trouble for each entity. The values are at most 2 s old.',
    answer: TROUBLE,
    statuses: HUNG,
  },
  {
    path: '/api/v1/events',
    summary: 'Streams past and new events.',
    query: EVENTS_QUERY,
    answer: EVENT,
    isStream: true,
    statuses: { 400: 'A parameter or the `Host` header is invalid.' },
  },
  {
    path: '/api/v1/flows',
    summary:
      'Lists TCP connections by Pod, role, peer and port of the server: totals as of the last collection, which is at most 2 s old. Clients compute rates from two answers.',
    query: FLOWS_QUERY,
    answer: FLOWS_REPORT,
    statuses: {
      ...HUNG,
      400: 'A parameter, or the `Host`, is wrong.',
      409: 'The probe `flow` is off, or does not run; the body says how to switch it on, or why.',
    },
  },
  {
    path: '/api/v1/flows/stream',
    summary: 'Streams records of connections as they end: those that `records` of the probe `flow` selects.',
    query: FLOW_STREAM_QUERY,
    answer: FLOW_RECORD,
    isStream: true,
    statuses: { 400: 'A parameter, or the `Host`, is wrong.' },
  },
  {
    path: '/api/v1/sinks',
    summary:
      'Lists the sinks, with the state, reason, time of the next retry, pending events, and last rejected event of each.',
    answer: SINKS_REPORT,
    statuses: {},
  },
  {
    path: '/api/v1/ledger',
    summary: 'Accounts for the events of each probe, before the sinks and at each sink.',
    answer: LEDGER_REPORT,
    statuses: HUNG,
  },
  {
    path: '/api/v1/config',
    summary: 'Shows the active configuration, where it comes from, and the errors in the last one that was rejected.',
    answer: CONFIG_REPORT,
    statuses: {},
  },
];

/** Returns the route for a request path, which may include query parameters; undefined if there is no such route. */
export function routeOf(path: string): Route | undefined {
  const [name] = path.split('?', 1);
  return ROUTES.find((route) => route.path === name);
}
