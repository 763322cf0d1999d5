import type * as z from 'zod';
import { AGENT_REPORT } from './agent.ts';
import { CONFIG_REPORT } from './config.ts';
import { COUNTERS_QUERY, COUNTERS_REPORT } from './counters.ts';
import { ENTITIES_REPORT } from './entities.ts';
import { EVENT } from './events.ts';
import { EVENTS_QUERY } from './events_query.ts';
import { FLOW_RECORD, FLOWS_REPORT } from './flows.ts';
import { FLOW_STREAM_QUERY, FLOWS_QUERY } from './flows_query.ts';
import { INCIDENT, INCIDENTS_REPORT } from './incidents.ts';
import { INCIDENT_STREAM_QUERY, INCIDENTS_QUERY } from './incidents_query.ts';
import { LEDGER_REPORT } from './ledger.ts';
import { MAP_REPORT } from './map.ts';
import { PROBES_REPORT } from './probes.ts';
import { REQUEST_RECORD } from './requests.ts';
import { REQUEST_STREAM_QUERY } from './requests_query.ts';
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
const NO_FLOWS = {
  409: 'The probe `flow` is disabled or not running. The body states how to enable it, or the reason.',
  503: 'The kernel thread hangs or is being replaced, or the probe `flow` is starting.',
};

/** All routes under `/api/v1`. */
export const ROUTES: readonly Route[] = [
  {
    path: '/api/v1/agent',
    summary: 'Describes the node, the agent, and the state of the connection to the Kubernetes API.',
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
    summary:
      'Returns, for each entity, the sums of the counters that indicate problems. The values are at most 2 s old.',
    answer: TROUBLE,
    statuses: HUNG,
  },
  {
    path: '/api/v1/counters',
    summary:
      'Returns the SNMP counters in the network namespaces of a Pod, container, namespace or process, or of the node if there are no parameters. They are read for each request, and no probe is needed.',
    query: COUNTERS_QUERY,
    answer: COUNTERS_REPORT,
    statuses: { ...HUNG, 400: 'A parameter or the `Host` header is invalid.' },
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
      'Lists TCP connections by Pod, role, peer and port of the server, with totals as of the last collection, which is at most 2 s old. Clients compute rates from two responses.',
    query: FLOWS_QUERY,
    answer: FLOWS_REPORT,
    statuses: {
      ...NO_FLOWS,
      400: 'A parameter or the `Host` header is invalid.',
    },
  },
  {
    path: '/api/v1/map',
    summary:
      'Shows which workloads communicate: TCP connections by the names of both ends, with totals as in `/api/v1/flows`. The response has at most 500 nodes and 2,000 edges.',
    answer: MAP_REPORT,
    statuses: NO_FLOWS,
  },
  {
    path: '/api/v1/flows/stream',
    summary:
      'Streams records of connections as they end. The option `records` of the probe `flow` determines which connections have records.',
    query: FLOW_STREAM_QUERY,
    answer: FLOW_RECORD,
    isStream: true,
    statuses: { 400: 'A parameter or the `Host` header is invalid.' },
  },
  {
    path: '/api/v1/requests/stream',
    summary:
      'Streams records of HTTP requests. The option `records` of the probe `http` determines which requests have records.',
    query: REQUEST_STREAM_QUERY,
    answer: REQUEST_RECORD,
    isStream: true,
    statuses: { 400: 'A parameter or the `Host` header is invalid.' },
  },
  {
    path: '/api/v1/incidents',
    summary:
      'Returns incidents: the events of a connection with one cause, as one line. `/api/v1/events?connectionId=…` returns the events.',
    query: INCIDENTS_QUERY,
    answer: INCIDENTS_REPORT,
    statuses: { 400: 'A parameter or the `Host` header is invalid.' },
  },
  {
    path: '/api/v1/incidents/stream',
    summary:
      'Streams incidents: one second after the first event, again if a stronger cause turns up, and when they end.',
    query: INCIDENT_STREAM_QUERY,
    answer: INCIDENT,
    isStream: true,
    statuses: { 400: 'A parameter or the `Host` header is invalid.' },
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
