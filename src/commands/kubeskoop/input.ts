import { type Document, isNode, isScalar, type Node } from 'yaml';
import { isMapping, type Mapping } from '#config/document.ts';
import { ConfigError, cutJson } from '#config/faults.ts';
import { composeAll, toValue } from '#config/yaml.ts';

/** Key in the ConfigMap that KubeSkoop's agent mounts as /etc/config. */
const KEY = 'config.yaml';

/**
 * Maximum size of the input in bytes. It is larger than the maximum size of a Kubernetes object, because a manifest can
 * contain a whole deployment.
 */
export const INPUT_BYTES_MAX = 1024 * 1024;

/** Thrown if the input is not a KubeSkoop configuration. The message is shown to the user. */
export class NotKubeskoop extends Error {
  override readonly name = 'NotKubeskoop';
}

/** A document that is expected to be a KubeSkoop configuration. */
export interface Input {
  readonly document: Mapping;
  /** Returns the line of the input where a value begins; undefined if unknown. */
  readonly lineOf: (path: readonly PropertyKey[]) => number | undefined;
  /** Kubernetes namespace of the ConfigMap that contains the document. */
  readonly namespace?: string | undefined;
  /** Name of the ConfigMap that contains the document; empty if there is none. */
  readonly configMap: string;
}

/**
 * Finds a KubeSkoop configuration in the input, which is either the document itself or a manifest with a ConfigMap that
 * contains the document.
 * @throws {NotKubeskoop} if there is no such configuration, or more than one
 */
export function findInput(text: string): Input {
  if (Buffer.byteLength(text) > INPUT_BYTES_MAX) throw new NotKubeskoop(`longer than ${INPUT_BYTES_MAX} bytes`);
  const parsed = parse(text).filter(({ value }) => value !== null && value !== undefined);
  const objects = parsed.flatMap(objectsOf);
  if (objects.length > 0) return fromObjects(objects);
  const [only, ...more] = parsed;
  if (only === undefined) throw new NotKubeskoop('empty');
  if (more.length > 0) throw new NotKubeskoop(`${parsed.length} documents, none of them a ConfigMap; give one`);
  return { document: mappingOf(only.value), lineOf: (path) => only.lineOf(path), configMap: '' };
}

interface Parsed {
  readonly document: Document.Parsed;
  readonly value: unknown;
  readonly lineOf: (path: readonly PropertyKey[]) => number | undefined;
}

/**
 * Parses all YAML documents of the input.
 * @param place prefix of error messages, which names the source of the text
 */
function parse(text: string, place = ''): Parsed[] {
  try {
    // `<<` merges mappings, as in KubeSkoop's YAML library.
    const composed = composeAll(text, { merge: true });
    const lineIn = (document: Document.Parsed) => (path: readonly PropertyKey[]) => {
      const node = nodeAt(document, path);
      return node?.range ? composed.place.linePos(node.range[0]).line : undefined;
    };
    return composed.documents.map((document) => ({
      document,
      value: toValue(composed, document),
      lineOf: lineIn(document),
    }));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const hint = text.includes('{{') ? '; render a Helm template first: `helm template …`' : '';
    throw new NotKubeskoop(error.faults.map(({ allowed }) => place + allowed + hint).join('\n'));
  }
}

/** Returns the node of a value, or of its parent if the value is missing or behind an alias. */
function nodeAt(document: Document.Parsed, path: readonly PropertyKey[]): Node | undefined {
  const node = path.length === 0 ? document.contents : document.getIn(path, true);
  if (isNode(node)) return node;
  return path.length === 0 ? undefined : nodeAt(document, path.slice(0, -1));
}

function mappingOf(value: unknown): Mapping {
  if (isMapping(value)) return value;
  throw new NotKubeskoop(`${cutJson(value)} is not a configuration, which is a mapping of keys to values`);
}

interface KubernetesObject {
  readonly parsed: Parsed;
  /** Path of the object in its document, which may be a List. */
  readonly path: readonly (string | number)[];
  readonly object: Mapping;
}

/** Returns the Kubernetes objects in a document: the object itself, or the items if it is a List. */
function objectsOf(parsed: Parsed): KubernetesObject[] {
  const { value } = parsed;
  if (!isMapping(value) || typeof value['kind'] !== 'string' || typeof value['apiVersion'] !== 'string') return [];
  const items = value['kind'].endsWith('List') ? value['items'] : undefined;
  if (!Array.isArray(items)) return [{ parsed, path: [], object: value }];
  return items.flatMap((item, index) => (isMapping(item) ? [{ parsed, path: ['items', index], object: item }] : []));
}

function fromObjects(objects: readonly KubernetesObject[]): Input {
  const maps = objects.filter(({ object }) => object['kind'] === 'ConfigMap');
  const [only] = maps;
  if (only === undefined) throw new NotKubeskoop(`no ConfigMap among ${objects.length} Kubernetes objects`);
  const holders = maps.filter(({ object }) => typeof dataOf(object)[KEY] === 'string');
  if (holders.length === 0) {
    const keys = maps.map(({ object }) => `${nameOf(object)} has ${cutJson(Object.keys(dataOf(object)))}`);
    throw new NotKubeskoop(`no ConfigMap has the key ${KEY}; ${keys.join('; ')}`);
  }
  const [holder, ...others] = holders.length === 1 ? holders : holders.filter(isLikely);
  if (holder === undefined) {
    throw new NotKubeskoop(
      `none of these ConfigMaps is KubeSkoop's: ${holders.map(({ object }) => nameOf(object)).join(', ')}`,
    );
  }
  if (others.length > 0) {
    const names = [holder, ...others].map(({ object }) => nameOf(object));
    throw new NotKubeskoop(
      `${names.length} ConfigMaps contain a KubeSkoop configuration: ${names.join(', ')}; give one`,
    );
  }
  return inputOf(holder);
}

function dataOf(object: Mapping): Mapping {
  return isMapping(object['data']) ? object['data'] : {};
}

interface Names {
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
}

/**
 * Returns the name and namespace of an object if they are valid. Invalid ones are dropped, because both are used in
 * comments and in a URL.
 */
function namesOf({ metadata }: Mapping): Names {
  const given = isMapping(metadata) ? metadata : {};
  const nameIn = (value: unknown) =>
    typeof value === 'string' && /^[a-z0-9][a-z0-9.-]{0,252}$/.test(value) ? value : undefined;
  return { name: nameIn(given['name']), namespace: nameIn(given['namespace']) };
}

function nameOf(object: Mapping): string {
  const { name, namespace } = namesOf(object);
  return name === undefined ? 'a ConfigMap without a name' : [namespace, name].filter(Boolean).join('/');
}

/** Whether a ConfigMap with the key config.yaml is likely to be KubeSkoop's. */
function isLikely(holder: KubernetesObject): boolean {
  try {
    return hasKubeskoopKeys(inputOf(holder).document);
  } catch {
    return false;
  }
}

export function hasKubeskoopKeys(document: Mapping): boolean {
  return ['metrics', 'event', 'metric_config', 'event_config'].some((key) => key in document);
}

function inputOf({ parsed, path, object }: KubernetesObject): Input {
  const configMap = nameOf(object);
  const [document, ...more] = parse(String(dataOf(object)[KEY]), `${KEY} of ${configMap}: `);
  if (document === undefined || more.length > 0) throw new NotKubeskoop(`${configMap}: ${KEY} must be one document`);
  const node = nodeAt(parsed.document, [...path, 'data', KEY]);
  // The content of a literal block scalar starts on the line after its indicator. Lines within other scalars cannot be
  // determined.
  const isBlock = isScalar(node) && node.type === 'BLOCK_LITERAL';
  const before = isBlock ? (parsed.lineOf([...path, 'data', KEY]) ?? 0) : undefined;
  return {
    document: mappingOf(document.value),
    lineOf: (inner) => {
      const line = document.lineOf(inner);
      return line === undefined || before === undefined ? undefined : before + line;
    },
    namespace: namesOf(object).namespace,
    configMap,
  };
}
