import type { FlowsSummary } from '#api/flows.ts';
import { inertJson, visible } from '#core/inert.ts';
import { type Decision, decideBoth, type Verdict } from '#policies/decide.ts';
import { explain, portText } from '#policies/explain.ts';
import type { Policy } from '#policies/model.ts';
import { renderTable } from '../table.ts';
import { isEstablished, type Seen, seenOf } from './edges.ts';
import { namespacesOf, type World } from './world.ts';

/**
 * Maximum number of namespaces whose policies are read individually. If there are more, the policies of all namespaces
 * are read at once.
 */
const NAMESPACES_MAX = 20;

/** Effect of the new policies on an edge. */
export type Fate = 'breaks' | 'unknown' | 'stays';

export interface Prospect {
  readonly fate: Fate;
  readonly client: string;
  readonly server: string;
  /** Protocol and port, as in `tcp/80`. */
  readonly port: string;
  readonly connections: number;
  readonly before: Verdict;
  readonly after: Verdict;
  /** Decision under the other policies that is the reason for the fate. */
  readonly by: readonly string[];
  readonly message: string;
}

export interface WhatIfReport {
  readonly verdict: Verdict;
  readonly node: string;
  readonly edges: readonly Prospect[];
  /** Number of edges that were left out, because they belong to no Pod or had no established connection. */
  readonly leftOut: number;
  readonly notes: readonly string[];
}

/**
 * Finds the edges whose connections would be denied if these policies were added. A policy replaces an existing policy
 * with the same name.
 */
export async function whatIf(world: World, flows: FlowsSummary, policies: readonly Policy[]): Promise<WhatIfReport> {
  const established = flows.edges.filter(isEstablished);
  const seen: Seen[] = [];
  for (const edge of established) {
    const one = await seenOf(world, edge);
    if (one !== undefined) seen.push(one);
  }
  const namespaces = namespacesOf(seen.flatMap(({ client, server }) => [client.end, server.end]));
  const isFew = namespaces !== undefined && namespaces.length <= NAMESPACES_MAX;
  const now = await world.policies(isFew ? namespaces : undefined);
  const then = now.with(policies);
  const edges = seen.map(({ edge, connection }): Prospect => {
    const before = decideBoth(now, connection);
    const after = decideBoth(then, connection);
    const both: readonly Decision[] = [after.egress, after.ingress];
    const reason = both.find(({ verdict }) => verdict === after.verdict) ?? after.ingress;
    return {
      fate: fateOf(before.verdict, after.verdict),
      client: connection.source.name,
      server: connection.destination.name,
      port: portText({ protocol: connection.protocol, port: edge.port ?? undefined }),
      connections: edge.connections,
      before: before.verdict,
      after: after.verdict,
      by: reason.by,
      message: `${reason.direction}: ${explain(reason, connection)}`,
    };
  });
  const fates = new Set(edges.map(({ fate }) => fate));
  const verdict = fates.has('breaks') ? 'denied' : fates.has('unknown') ? 'unknown' : 'allowed';
  const omitted = flows.omitted > 0 ? [`the agent left out ${flows.omitted} further edges`] : [];
  const rest = flows.rest.reduce((sum, { connections }) => sum + connections, 0);
  const unnamed = rest > 0 ? [`${rest} connections have no edge of their own, so nothing is known about them`] : [];
  const notes = [...world.notes, ...omitted, ...unnamed];
  return { verdict, node: flows.node, edges, leftOut: flows.edges.length - seen.length, notes };
}

function fateOf(before: Verdict, after: Verdict): Fate {
  if (after === 'denied' && before !== 'denied') return 'breaks';
  return after === 'unknown' ? 'unknown' : 'stays';
}

/** Formats the edges that break or may break as a table. */
export function whatIfText({ node, edges, leftOut, notes }: WhatIfReport): string {
  const count = (fate: Fate) => edges.filter((edge) => edge.fate === fate).length;
  const shown = edges.filter(({ fate }) => fate !== 'stays').toSorted((a, b) => order(a) - order(b));
  const rows = shown.map(({ fate, client, server, port, connections, message }) =>
    [fate, client, server, port, String(connections), message].map(visible),
  );
  const lines = [
    `${edges.length} edges on ${node}: ${count('breaks')} would break, ${count('unknown')} are unknown, ${count('stays')} stay as they are`,
    ...(leftOut > 0 ? [`${leftOut} further edges belong to no Pod, or no connection was established`] : []),
    ...notes.map((note) => `note: ${note}`),
  ].map(visible);
  const table =
    rows.length === 0 ? [] : ['', renderTable([['', 'CLIENT', 'SERVER', 'PORT', 'CONNECTIONS', 'REASON'], ...rows])];
  return `${[...lines, ...table].join('\n')}\n`;
}

function order({ fate, connections }: Prospect): number {
  return (fate === 'breaks' ? 0 : 1) - connections / (connections + 1);
}

export function whatIfJson(report: WhatIfReport): string {
  return `${inertJson(JSON.stringify(report, undefined, 2))}\n`;
}
