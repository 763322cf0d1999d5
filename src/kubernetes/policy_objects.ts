import { ApiError, type ApiSession, errorOf, withQuery } from './api.ts';
import { Call } from './call.ts';
import type { Shape } from './json_prune.ts';
import { parsePruned } from './json_prune.ts';
import { readList } from './json_stream.ts';
import { type PolicyResource, versionsOf } from './policy_resources.ts';

/** Parts of objects that policies refer to. The environment of containers is not parsed. */
const POD = {
  metadata: { name: true, namespace: true, labels: true },
  spec: {
    nodeName: true,
    hostNetwork: true,
    containers: { ports: true },
    initContainers: { ports: true, restartPolicy: true },
  },
  status: { phase: true, podIP: true, podIPs: true, hostIP: true, hostIPs: true },
} as const satisfies Shape;
const NAMESPACE = { metadata: { name: true, labels: true } } as const satisfies Shape;
const SERVICE = {
  metadata: { name: true, namespace: true },
  spec: { selector: true, clusterIP: true, clusterIPs: true, externalIPs: true, ports: true },
} as const satisfies Shape;
const POLICY = { metadata: { name: true, namespace: true }, spec: true } as const satisfies Shape;

const PAGE_OBJECTS = 500;
const ANSWER_MS = 5_000;
const LIST_MS = 60_000;
const OBJECT_BYTES_MAX = 8 * 1024 * 1024;
const FORBIDDEN = 403;
const NOT_FOUND = 404;

/** Objects of the API, or the missing permission that is needed to read them. */
export type Reading<T> = { readonly value: T } | { readonly missing: string };

/** Reads policies, Pods and Namespaces on demand. Uses only the verbs `list` and `get`, and does not watch anything. */
export class PolicyObjects {
  readonly #session: ApiSession;
  readonly #signal: AbortSignal;
  readonly #isCached: boolean;

  /** @param isCached whether policies may be those in the cache of the server, which costs it less */
  constructor(session: ApiSession, signal: AbortSignal, isCached = false) {
    this.#isCached = isCached;
    this.#session = session;
    this.#signal = signal;
  }

  /** Returns a Pod; undefined if there is none. @throws if the server cannot be reached */
  pod(namespace: string, name: string): Promise<Reading<unknown>> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    return this.#orMissing(`get pods in the namespace ${namespace}`, () => this.#get(path, POD));
  }

  /** Returns a Namespace; undefined if there is none. @throws if the server cannot be reached */
  namespace(name: string): Promise<Reading<unknown>> {
    return this.#orMissing('get namespaces', () =>
      this.#get(`/api/v1/namespaces/${encodeURIComponent(name)}`, NAMESPACE),
    );
  }

  /**
   * Returns a Service; undefined if there is none. Uses `list`, because the agent has no permission to `get` Services.
   * @throws if the server cannot be reached
   */
  service(namespace: string, name: string): Promise<Reading<unknown>> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/services`;
    const fieldSelector = `metadata.name=${name}`;
    return this.#orMissing(`list services in the namespace ${namespace}`, async () =>
      (await this.#list(path, 1, SERVICE, { fieldSelector }))?.at(0),
    );
  }

  /** Returns all API groups with their versions. @throws if the server cannot be reached */
  async groups(): Promise<Reading<ApiGroups>> {
    return this.#orMissing('get /apis', async () => {
      const list = await this.#get('/apis', { groups: { name: true, versions: { version: true } } });
      return groupsIn(list);
    });
  }

  /**
   * Returns the policies of one kind; none if the server does not have this kind.
   * @param namespace namespace to read; undefined for all
   * @param max number of objects after which reading stops
   * @throws if the server cannot be reached
   */
  policies(
    resource: PolicyResource,
    groups: ApiGroups | undefined,
    namespace: string | undefined,
    max: number,
  ): Promise<Reading<unknown[]>> {
    const where = namespace === undefined ? '' : ` in the namespace ${namespace}`;
    const within = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
    return this.#orMissing(`list ${resource.name}${where}`, async () => {
      for (const version of versionsOf(resource, groups)) {
        const found = await this.#list(`/apis/${resource.group}/${version}${within}/${resource.name}`, max);
        if (found !== undefined) return found;
      }
      return [];
    });
  }

  async #orMissing<T>(right: string, read: () => Promise<T>): Promise<Reading<T>> {
    try {
      return { value: await read() };
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== FORBIDDEN) throw error;
      return { missing: `the right to ${right} is missing` };
    }
  }

  /** Returns the objects in a list; undefined if the server does not have the resource. */
  async #list(
    path: string,
    max: number,
    shape: Shape = POLICY,
    query: Readonly<Record<string, string>> = {},
  ): Promise<unknown[] | undefined> {
    const objects: unknown[] = [];
    let next: string | undefined;
    do {
      // A later page has the version of the first one.
      const resourceVersion = this.#isCached && next === undefined ? 0 : undefined;
      const page = { limit: PAGE_OBJECTS, continue: next, resourceVersion };
      await using call = await this.#ask(withQuery(path, { ...query, ...page }));
      if (call === undefined) return undefined;
      const deadline = setTimeout(() => call.end(), LIST_MS);
      try {
        const list = await readList(call.body(ANSWER_MS), (object) => objects.push(object), {
          key: 'items',
          shape,
        });
        next = list.continue;
      } finally {
        clearTimeout(deadline);
      }
    } while (next !== '' && objects.length < max);
    return objects;
  }

  /** Returns an object; undefined if it does not exist. */
  async #get(path: string, shape: Shape): Promise<unknown> {
    await using call = await this.#ask(path);
    if (call === undefined) return undefined;
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of call.body(ANSWER_MS)) {
      bytes += chunk.length;
      if (bytes > OBJECT_BYTES_MAX) throw new Error(`${path}: more than ${OBJECT_BYTES_MAX} bytes`);
      chunks.push(chunk);
    }
    return parsePruned(Buffer.concat(chunks), shape);
  }

  async #ask(path: string): Promise<Call | undefined> {
    const call = new Call(this.#signal);
    try {
      const request = this.#session.request({ method: 'GET', path, signal: call.signal });
      call.response = await call.within(request, ANSWER_MS, 'did not respond');
      if (call.response.status === 200) return call;
      const error = await call.within(errorOf(call.response), ANSWER_MS, 'did not respond');
      if (error.status !== NOT_FOUND) throw error;
    } catch (error) {
      await call[Symbol.asyncDispose]();
      if (error instanceof ApiError) throw error;
      throw new Error(`cannot read from the Kubernetes API at ${this.#session.server}: ${(error as Error).message}`);
    }
    await call[Symbol.asyncDispose]();
    return undefined;
  }
}

/** Versions of each API group that the server supports. */
export type ApiGroups = ReadonlyMap<string, readonly string[]>;

function groupsIn(list: unknown): ApiGroups {
  const { groups } = (list ?? {}) as { readonly groups?: unknown };
  const named = new Map<string, readonly string[]>();
  for (const group of Array.isArray(groups) ? groups : []) {
    const { name, versions } = (group ?? {}) as { readonly name?: unknown; readonly versions?: unknown };
    const all = (Array.isArray(versions) ? versions : []).map((one) => (one as { version?: unknown } | null)?.version);
    if (typeof name === 'string')
      named.set(
        name,
        all.filter((version) => typeof version === 'string'),
      );
  }
  return named;
}
