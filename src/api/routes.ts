import type * as z from 'zod';
import { AGENT_REPORT } from './agent.ts';
import { CONFIG_REPORT } from './config.ts';
import { ENTITIES_REPORT } from './entities.ts';
import { EVENT } from './events.ts';
import { EVENTS_QUERY } from './events_query.ts';
import { LEDGER_REPORT } from './ledger.ts';
import { PROBES_REPORT } from './probes.ts';
import { SINKS_REPORT } from './sinks.ts';
import { TROUBLE } from './trouble.ts';

export interface Route {
  readonly path: string;
  /** One sentence. */
  readonly summary: string;
  /** Parameters; without a schema there are none, and given ones are ignored. */
  readonly query?: z.ZodObject;
  /** The body as JSON; in a stream, each event. */
  readonly answer: z.ZodType;
  /** Server-sent events, or one JSON object a line. */
  readonly isStream?: boolean;
  /** Reasons of the statuses that not every route has. */
  readonly statuses: Readonly<Record<number, string>>;
}

/** Statuses of every route besides 200. */
export const COMMON_STATUSES: Readonly<Record<number, string>> = {
  400: 'The `Host` is invalid, or there are several.',
  401: 'The bearer token, or the password of a web configuration, is missing or wrong.',
  403: 'The API is not served to this address, under this name, or to a page of another site.',
  405: 'The method is neither `GET` nor `HEAD`.',
  503: 'The token file cannot be read, or the server was busy with other clients all the time.',
};

const HUNG = { 503: 'The kernel thread hangs or is being replaced.' };

/** Everything at `/api/v1`. */
export const ROUTES: readonly Route[] = [
  {
    path: '/api/v1/agent',
    summary: 'Names the node and the agent, and says whether the Kubernetes API is connected.',
    answer: AGENT_REPORT,
    statuses: {},
  },
  {
    path: '/api/v1/probes',
    summary: 'Lists the probes: purpose, state and reason, means of reading, and cost of each.',
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
      'Sums the counters that indicate trouble, for each entity, as of the last collection, which is at most 2 s old.',
    answer: TROUBLE,
    statuses: HUNG,
  },
  {
    path: '/api/v1/events',
    summary: 'Streams past and new events.',
    query: EVENTS_QUERY,
    answer: EVENT,
    isStream: true,
    statuses: { 400: 'A parameter, or the `Host`, is wrong.' },
  },
  {
    path: '/api/v1/sinks',
    summary:
      'Lists the sinks: state, reason, time of the next retry, waiting events, and the last event that each refused.',
    answer: SINKS_REPORT,
    statuses: {},
  },
  {
    path: '/api/v1/ledger',
    summary: 'Accounts for the events of each probe, before the sinks and at each of them.',
    answer: LEDGER_REPORT,
    statuses: HUNG,
  },
  {
    path: '/api/v1/config',
    summary: 'Shows the active configuration, its source, and the faults of the last one that was rejected.',
    answer: CONFIG_REPORT,
    statuses: {},
  },
];

/** Returns the answer of a path with or without parameters; undefined where there is no such route. */
export function routeOf(path: string): Route | undefined {
  const [name] = path.split('?', 1);
  return ROUTES.find((route) => route.path === name);
}
