import * as client from '@kubernetes/client-node';
import * as z from 'zod';
import type { KubernetesObject } from './kustomize.ts';

interface Attribute {
  readonly baseName: string;
  readonly type: string;
}

interface Model {
  getAttributeTypeMap(): readonly Attribute[];
}

/**
 * The fields of a PodMonitor that our manifests use
 * (https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.PodMonitor).
 */
const STRINGS = z.record(z.string(), z.string());
const KEY = z.strictObject({ name: z.string(), key: z.string() });
const SOURCE = z.strictObject({ secret: KEY.optional(), configMap: KEY.optional() });
const TLS_CONFIG = z.strictObject({
  ca: SOURCE.optional(),
  cert: SOURCE.optional(),
  keySecret: KEY.optional(),
  serverName: z.string().optional(),
  insecureSkipVerify: z.boolean().optional(),
});
const POD_MONITOR = z.strictObject({
  apiVersion: z.literal('monitoring.coreos.com/v1'),
  kind: z.literal('PodMonitor'),
  metadata: z.strictObject({ name: z.string(), namespace: z.string(), labels: STRINGS }),
  spec: z.strictObject({
    selector: z.strictObject({ matchLabels: STRINGS }),
    podMetricsEndpoints: z.array(
      z.strictObject({
        port: z.string(),
        path: z.string(),
        interval: z.string().optional(),
        scheme: z.enum(['http', 'https']).optional(),
        tlsConfig: TLS_CONFIG.optional(),
        basicAuth: z.strictObject({ username: KEY, password: KEY }).optional(),
        honorLabels: z.boolean(),
        relabelings: z.array(z.strictObject({ sourceLabels: z.array(z.string()), targetLabel: z.string() })),
      }),
    ),
  }),
});

/** API versions whose types have a name such as V1Role in the client library. */
const GROUPS = new Set(['v1', 'apps/v1', 'rbac.authorization.k8s.io/v1', 'networking.k8s.io/v1']);

function modelOf(type: string): Model | undefined {
  const model = (client as unknown as Record<string, unknown>)[type];
  return typeof model === 'function' && 'getAttributeTypeMap' in model ? (model as unknown as Model) : undefined;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const PRIMITIVES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  IntOrString: (value) => typeof value === 'string' || Number.isInteger(value),
};

function* faultsOfType(value: unknown, type: string, path: string): Generator<string> {
  const item = /^Array<(.+)>$/.exec(type)?.[1];
  const entry = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1];
  const model = modelOf(type);
  const isPrimitive = PRIMITIVES[type];
  if (item !== undefined) {
    if (!Array.isArray(value)) yield `${path}: no list`;
    else for (const [index, each] of value.entries()) yield* faultsOfType(each, item, `${path}[${index}]`);
  } else if (entry !== undefined || model !== undefined) {
    if (!isMapping(value)) yield `${path}: no object`;
    else if (entry !== undefined) {
      for (const [key, each] of Object.entries(value)) yield* faultsOfType(each, entry, `${path}.${key}`);
    } else if (model !== undefined) yield* faultsOfModel(value, model, path);
  } else if (isPrimitive === undefined) yield `${path}: the type ${type} is not known here`;
  else if (!isPrimitive(value)) yield `${path}: ${JSON.stringify(value)} is no ${type}`;
}

function* faultsOfModel(value: Readonly<Record<string, unknown>>, model: Model, path: string): Generator<string> {
  const attributes = new Map(model.getAttributeTypeMap().map(({ baseName, type }) => [baseName, type]));
  for (const [key, each] of Object.entries(value)) {
    const type = attributes.get(key);
    if (type === undefined) yield `${path}.${key}: there is no such field`;
    else yield* faultsOfType(each, type, `${path}.${key}`);
  }
}

/** Returns the unknown fields of an object and the values whose type is wrong. */
export function typeFaults(object: KubernetesObject): string[] {
  const { apiVersion, kind } = object;
  if (kind === 'PodMonitor') {
    const { error } = POD_MONITOR.safeParse(object);
    return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
  }
  const model = modelOf(`V1${kind}`);
  if (model === undefined || !GROUPS.has(apiVersion)) return [`there is no ${kind} in ${apiVersion}`];
  return [...faultsOfModel(object, model, kind)];
}

/** Yields the paths of all keys in an object, except keys that users choose. */
export function* keysIn(
  value: unknown,
  path: readonly (string | number)[] = [],
): Generator<readonly (string | number)[]> {
  if (typeof value !== 'object' || value === null) return;
  const isFree = [
    'labels',
    'annotations',
    'matchLabels',
    'nodeSelector',
    'data',
    'limits',
    'requests',
    'podLabels',
    'podAnnotations',
  ].includes(String(path.at(-1)));
  for (const [key, each] of Object.entries(value)) {
    if (!Array.isArray(value) && !isFree) yield [...path, key];
    yield* keysIn(each, [...path, key]);
  }
}

/** Returns a copy of the object with an `x` appended to one key. */
export function misspelt<T>(object: T, path: readonly (string | number)[]): T {
  const copy = structuredClone(object);
  let node = copy as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) node = node[key] as Record<string | number, unknown>;
  const last = path.at(-1) ?? '';
  node[`${last}x`] = node[last];
  delete node[last];
  return copy;
}
