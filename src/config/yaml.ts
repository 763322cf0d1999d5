import { type Document, isScalar, parseDocument, visit } from 'yaml';
import { ConfigError } from './faults.ts';
import { DOCUMENT_BYTES_MAX } from './watch.ts';

const ALIASES_MAX = 100;
const KEY_LENGTH_MAX = 60;

function unreadable(allowed: string): ConfigError {
  return new ConfigError([{ path: '', value: '', allowed }]);
}

/** The value of a document. @throws {ConfigError} */
export function parseYaml(text: string): unknown {
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) throw unreadable(`longer than ${DOCUMENT_BYTES_MAX} bytes`);
  // The library compares each key with each other one.
  const value = toValue(parseDocument(text, { prettyErrors: true, uniqueKeys: false }));
  if (value === null || value === undefined) throw unreadable('empty; `{}` asks for all defaults');
  return value;
}

/** Of a document that was parsed without a look at keys that are there twice. @throws {ConfigError} for what is no YAML */
export function toValue(document: Document): unknown {
  const errors = document.errors.map(({ message }) => oneLine(message));
  if (errors.length === 0) errors.push(...doubledKeys(document));
  if (errors.length > 0) {
    throw new ConfigError(errors.map((message) => ({ path: '', value: '', allowed: `no valid YAML: ${message}` })));
  }
  try {
    return document.toJS();
  } catch (error) {
    throw unreadable(`no valid YAML: ${oneLine((error as Error).message)}`);
  }
}

/** @throws {ConfigError} for more aliases than anybody needs: each is looked for in the whole document */
function doubledKeys(document: Document): string[] {
  const doubled: string[] = [];
  let aliases = 0;
  visit(document, {
    Alias: () => {
      aliases++;
      return aliases > ALIASES_MAX ? visit.BREAK : undefined;
    },
    Map: (_, { items }) => {
      const keys = new Set<string>();
      for (const { key } of items) {
        const name = isScalar(key) ? String(key.value) : undefined;
        if (name !== undefined && keys.has(name))
          doubled.push(`the key ${name.slice(0, KEY_LENGTH_MAX)} is there twice`);
        if (name !== undefined) keys.add(name);
      }
    },
  });
  if (aliases > ALIASES_MAX) throw unreadable(`more than ${ALIASES_MAX} aliases`);
  return doubled;
}

/** The library adds the line of the document and an arrow below it. */
function oneLine(message: string): string {
  return (message.split('\n', 1)[0] ?? '').replace(/:$/, '');
}
