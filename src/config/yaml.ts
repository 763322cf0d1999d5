import { Composer, type CST, type Document, isScalar, Lexer, LineCounter, Parser, visit } from 'yaml';
import { ConfigError, pathText } from './faults.ts';
import { DOCUMENT_BYTES_MAX } from './watch.ts';

const ALIASES_MAX = 100;
/** A text that is not YAML at all has an error at each character. Nobody reads so many, and each takes time. */
const ERRORS_MAX = 50;
/** Deepest nesting of brackets and braces. The library recurses into each. */
const DEPTH_MAX = 100;

type Composed = Document.Parsed;

/** Parsed parts of a text. */
export interface Documents {
  readonly documents: readonly Composed[];
  /** Line and column, from 1, of an offset. */
  readonly place: LineCounter;
  /** It has more errors than are reported. */
  readonly isHopeless: boolean;
}

function unreadable(allowed: string): ConfigError {
  return new ConfigError([{ path: '', value: '', allowed }]);
}

/** Returns the value of a document. @throws {ConfigError} */
export function parseYaml(text: string): unknown {
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) throw unreadable(`longer than ${DOCUMENT_BYTES_MAX} bytes`);
  const composed = composeAll(text, { documentsMax: 1 });
  const value = toValue(composed, composed.documents[0]);
  if (composed.documents.length > 1) throw unreadable('invalid YAML: there is more than one document');
  if (value === null || value === undefined) throw unreadable('empty; `{}` asks for all defaults');
  return value;
}

/**
 * Parses in a time linear in the length of the text. The library's function for a whole text splits the line of each error again: minutes
 * for 100 kB of braces.
 * @param merge `<<` merges mappings
 * @param documentsMax parsing stops at the first document beyond this number
 */
export function composeAll(
  text: string,
  { merge = false, documentsMax = Number.POSITIVE_INFINITY }: { merge?: boolean; documentsMax?: number } = {},
): Documents {
  const place = new LineCounter();
  // Duplicate keys are looked for below: the library compares each key with every other.
  const composer = new Composer({ merge, uniqueKeys: false, prettyErrors: false, logLevel: 'silent' });
  const documents: Composed[] = [];
  const isHopeless = withoutStacks(() => {
    let errors = 0;
    for (const token of tokensOf(text, place)) {
      documents.push(...composer.next(token));
      if (token.type === 'error') errors++;
      if (errors > ERRORS_MAX || documents.length > documentsMax) break;
    }
    documents.push(...composer.end(true, text.length));
    return errors > ERRORS_MAX;
  });
  return { documents, place, isHopeless };
}

/** @throws {ConfigError} for nesting that is too deep */
function* tokensOf(text: string, place: LineCounter): Generator<CST.Token> {
  const parser = new Parser(place.addNewLine);
  place.addNewLine(0);
  let depth = 0;
  for (const lexeme of new Lexer().lex(text)) {
    if (lexeme === '[' || lexeme === '{') depth++;
    if ((lexeme === ']' || lexeme === '}') && depth > 0) depth--;
    if (depth > DEPTH_MAX)
      throw unreadable(`invalid YAML: more than ${DEPTH_MAX} brackets and braces within each other`);
    yield* parser.next(lexeme);
  }
  yield* parser.end();
}

/** Errors of the library are not thrown: a stack for each takes longer than everything else. */
function withoutStacks<T>(work: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** @throws {ConfigError} for invalid YAML */
export function toValue({ place, isHopeless }: Documents, document: Composed | undefined): unknown {
  if (document === undefined) return undefined;
  const errors = document.errors.slice(0, ERRORS_MAX).map(({ message, pos: [offset] }) => {
    const { line, col } = place.linePos(offset);
    return `${message} at line ${line}, column ${col}`;
  });
  if (isHopeless || document.errors.length > ERRORS_MAX) errors.push('there are more errors');
  try {
    if (errors.length === 0) errors.push(...doubledKeys(document));
    if (errors.length === 0) return document.toJS();
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    errors.push((error as Error).message);
  }
  throw new ConfigError(errors.map((message) => ({ path: '', value: '', allowed: `invalid YAML: ${message}` })));
}

/** @throws {ConfigError} for more aliases than anybody needs: each is searched for in the whole document */
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
        if (doubled.length === ERRORS_MAX) return visit.BREAK;
        const name = isScalar(key) ? String(key.value) : undefined;
        if (name !== undefined && keys.has(name)) doubled.push(`the key ${pathText([name])} is given twice`);
        if (name !== undefined) keys.add(name);
      }
      return undefined;
    },
  });
  if (aliases > ALIASES_MAX) throw unreadable(`more than ${ALIASES_MAX} aliases`);
  return doubled;
}
