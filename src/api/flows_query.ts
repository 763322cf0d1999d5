import * as z from 'zod';
import { parseIp } from '#core/address.ts';
import { parseSince } from './events_query.ts';
import { FLOW_ROLES } from './words.ts';

const PORT_MAX = 65_535;
const LIMIT_MAX = 20_000;
export const FLOWS_LIMIT = 1_000;

const once = ({ path }: { readonly path?: PropertyKey[] | undefined }) =>
  `${String(path?.at(-1))} is given more than once; give it once`;

const text = () => z.string({ error: once });

/**
 * Returns the schema of a parameter whose value must pass a test.
 * @param fix rest of the error message, after `name: value`
 */
function checked(name: string, isGood: (value: string) => boolean, fix: string) {
  return text().refine(isGood, { error: ({ input }) => `${name}: ${String(input)} ${fix}` });
}

function isNumber(value: string, atLeast: number, atMost: number): boolean {
  return /^\d{1,5}$/.test(value) && Number(value) >= atLeast && Number(value) <= atMost;
}

const selection = () => ({
  namespace: text()
    .exactOptional()
    .describe('Namespace of the Pod; empty for the node and everything else that is not a Pod.'),
  pod: text().exactOptional().describe('Name of the Pod; empty for the node.'),
  peer: checked('peer', (peer) => parseIp(peer) !== undefined, 'is not an address; give one like 10.0.0.1 or fd00::1')
    .exactOptional()
    .describe('Address of the peer.'),
  port: checked('port', (port) => isNumber(port, 1, PORT_MAX), `is not a port; give a number from 1 to ${PORT_MAX}`)
    .exactOptional()
    .describe('Server port.'),
  role: checked(
    'role',
    (role) => FLOW_ROLES.some((name) => name === role),
    `is not a role; give ${FLOW_ROLES.join(' or ')}`,
  )
    .exactOptional()
    .describe('Role of the Pod: `client` or `server`.'),
  failed: checked('failed', isSwitch, 'is neither true nor false')
    .exactOptional()
    .describe('If `true`, only edges or records with failed connections.'),
});

function isSwitch(value: string): boolean {
  return ['true', 'false'].includes(value);
}

/** Query parameters of `/api/v1/flows`. Each of them may be given at most once. */
export const FLOWS_QUERY = z.strictObject({
  ...selection(),
  limit: checked(
    'limit',
    (limit) => isNumber(limit, 1, LIMIT_MAX),
    `is not a limit; give a number from 1 to ${LIMIT_MAX}`,
  )
    .exactOptional()
    .describe(
      `Maximum number of edges to return, from 1 to ${LIMIT_MAX}; ${FLOWS_LIMIT} by default. The worst edges are chosen.`,
    ),
});
export type FlowsQuery = z.infer<typeof FLOWS_QUERY>;

/** Query parameters of `/api/v1/flows/stream`. Each of them may be given at most once. */
export const FLOW_STREAM_QUERY = z.strictObject({
  ...selection(),
  since: checked(
    'since',
    (since) => !Number.isNaN(parseSince(since, 0)),
    'is neither a duration (10m) nor a time (RFC 3339)',
  )
    .exactOptional()
    .describe('Time of the oldest record: `30s`, `10m`, `2h` ago, or a time in RFC 3339.'),
  last: checked('last', (last) => /^\d{1,6}$/.test(last), 'is not a number of records')
    .exactOptional()
    .describe('Maximum number of past records to return; the newest are chosen.'),
  follow: checked('follow', isSwitch, 'is neither true nor false')
    .exactOptional()
    .describe(
      'If `true`, continue with new records, which is the default for server-sent events. If `false`, end after the past records.',
    ),
});
export type FlowStreamQuery = z.infer<typeof FLOW_STREAM_QUERY>;
