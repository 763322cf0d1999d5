import { setTimeout as wait } from 'node:timers/promises';
import { type ApiSession, errorOf, withQuery } from './api.ts';
import { labelsOf, oneLine, textOf } from './api_values.ts';
import type { Shape } from './json_prune.ts';
import { readList } from './json_stream.ts';

interface Named {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
}

const HOSTNAME = 'kubernetes.io/hostname';
const KEEP = { metadata: { name: true, labels: { [HOSTNAME]: true } } } as const satisfies Shape;
/** Requests only the metadata of nodes, because complete Node objects are large. */
const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const PAGE_NODES = 500;
const PAGES_MAX = 4;
const SHOWN_MAX = 3;
/**
 * Maximum random delay in milliseconds. It is needed because all agents of a cluster may have the same problem at the
 * same time.
 */
const SPREAD_MS = 10_000;
const DEADLINE_MS = 10_000;

/**
 * Returns a suggestion in place of a node name that the API does not know, such as `did you mean n6?`.
 * @throws if the API does not respond
 */
export async function nearNode(
  session: ApiSession,
  node: string,
  signal: AbortSignal,
  spreadMs = SPREAD_MS,
): Promise<string> {
  await wait(Math.random() * spreadMs, undefined, { signal });
  const nodes = await nodesOf(session, AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]));
  const near = nodes.filter((each) => isNear(each, node)).map(({ metadata }) => metadata.name);
  if (near.length > 0) return `did you mean ${shown(near)}?`;
  return nodes.length === 0 ? 'it has no nodes' : `it has ${shown(nodes.map(({ metadata }) => metadata.name))}`;
}

async function nodesOf(session: ApiSession, signal: AbortSignal): Promise<readonly Named[]> {
  const nodes: Named[] = [];
  let next: string | undefined;
  for (let page = 0; page < PAGES_MAX; page++) {
    const path = withQuery('/api/v1/nodes', { limit: PAGE_NODES, continue: next });
    const response = await session.request({ method: 'GET', path, accept: METADATA_ONLY, signal });
    if (response.status !== 200) throw await errorOf(response);
    const take = (object: unknown) => {
      if (nodes.length >= PAGES_MAX * PAGE_NODES) throw new Error('has too many nodes to search');
      nodes.push(nodeIn(object));
    };
    const list = await readList(response.body, take, { key: 'items', shape: KEEP });
    if (list.continue === '') break;
    next = list.continue;
  }
  return nodes;
}

function nodeIn(object: unknown): Named {
  const { name, labels } = (object as Partial<{ metadata: { name?: unknown; labels?: unknown } }>).metadata ?? {};
  return { metadata: { name: oneLine(textOf(name) ?? ''), labels: labelsOf(labels) } };
}

/** Whether the name or the host name label of a node differs from `node` only in case or domain. */
function isNear({ metadata: { name, labels } }: Named, node: string): boolean {
  return [name, labels?.[HOSTNAME] ?? name].some(
    (each) => each.toLowerCase() === node.toLowerCase() || firstLabel(each) === firstLabel(node),
  );
}

/** Returns the first label of a host name. An IP address is returned unchanged. */
function firstLabel(name: string): string {
  const [first = '', ...domain] = name.toLowerCase().split('.');
  return /^\d+$/.test(first) ? [first, ...domain].join('.') : first;
}

function shown(names: readonly string[]): string {
  const more = names.length - SHOWN_MAX;
  return `${names.slice(0, SHOWN_MAX).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
