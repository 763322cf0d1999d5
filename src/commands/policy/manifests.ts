import { ConfigError } from '#config/faults.ts';
import { composeAll, toValue } from '#config/yaml.ts';
import { Files } from '#files/files.ts';
import { type Fields, isFields } from '#policies/fields.ts';

/** Maximum size of a file in bytes. Ten thousand policies take about 10 MB. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;
/** Maximum nesting depth of lists. */
const DEPTH_MAX = 4;

/** A Kubernetes object in a manifest. */
export interface Manifest {
  readonly apiGroup: string;
  readonly kind: string;
  readonly object: Fields;
  /** Name of the file and number of the document, for messages. */
  readonly place: string;
}

/**
 * Reads the objects in YAML or JSON manifests, which may contain several documents and lists. `-` is standard input.
 * @param option name of the option, for messages
 * @throws if a file cannot be read, or contains something other than objects
 */
export async function readManifests(paths: readonly string[], option = '--file'): Promise<Manifest[]> {
  const files = new Files();
  const manifests: Manifest[] = [];
  for (const path of paths) {
    const content = path === '-' ? await readInput() : await readFile(files, path, option);
    manifests.push(...manifestsIn(content, path === '-' ? 'standard input' : path));
  }
  return manifests;
}

async function readFile(files: Files, path: string, option: string): Promise<string> {
  try {
    return await files.readText(path, FILE_BYTES_MAX);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`${option} ${path}: ${code === 'ENOENT' ? 'there is no such file' : message}`);
  }
}

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > FILE_BYTES_MAX) throw new Error(`standard input has more than ${FILE_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** @param path name of the file, for messages */
export function manifestsIn(content: string, path: string): Manifest[] {
  return documentsOf(content, path).flatMap((value, index) =>
    value === null || value === undefined ? [] : objectsIn(value, `${path}, document ${index + 1}`, DEPTH_MAX),
  );
}

function documentsOf(content: string, path: string): unknown[] {
  // JSON output of kubectl can be large, and parsing it as YAML would take far longer.
  if (/^\s*\{/.test(content)) {
    try {
      return [JSON.parse(content)];
    } catch {
      // The content may be YAML that starts with a brace.
    }
  }
  try {
    const composed = composeAll(content);
    return composed.documents.map((document) => toValue(composed, document));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new Error(`${path}: ${error.faults.map(({ allowed }) => allowed).join('; ')}`);
  }
}

function objectsIn(
  value: unknown,
  place: string,
  depth: number,
  listed?: { apiGroup: string; kind: string },
): Manifest[] {
  if (!isFields(value)) throw new Error(`${place}: not a Kubernetes object, which has the keys apiVersion and kind`);
  const { apiVersion, kind, items } = value;
  if (listed === undefined && (typeof apiVersion !== 'string' || typeof kind !== 'string')) {
    throw new Error(`${place}: apiVersion or kind is missing`);
  }
  const apiGroup = typeof apiVersion === 'string' ? groupOf(apiVersion) : (listed?.apiGroup ?? '');
  const own = typeof kind === 'string' ? kind : (listed?.kind ?? '');
  if (!Array.isArray(items) || !own.endsWith('List')) return [{ apiGroup, kind: own, object: value, place }];
  if (depth === 0) throw new Error(`${place}: lists are nested more than ${DEPTH_MAX} deep`);
  const item = own === 'List' ? undefined : { apiGroup, kind: own.slice(0, -'List'.length) };
  return items.flatMap((one, index) => objectsIn(one, `${place}, item ${index + 1}`, depth - 1, item));
}

/** Returns the group of an `apiVersion`; empty for the core group, as in `v1`. */
function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? (apiVersion.split('/', 1)[0] ?? '') : '';
}
