import { Composer, type CST, type Document, isScalar, Lexer, LineCounter, Parser, visit } from 'yaml';
import { ConfigError, pathText } from './faults.ts';
import { DOCUMENT_BYTES_MAX } from './watch.ts';

const ALIASES_MAX = 100;
/**
 * Maximum number of errors to report. Input that is not YAML can have an error at each character, and reporting each
 * error takes time.
 */
const ERRORS_MAX = 50;
/** Maximum nesting of brackets and braces. It is limited because the YAML library parses them recursively. */
const DEPTH_MAX = 100;

type Composed = Document.Parsed;

/** All documents of a YAML stream, parsed. */
export interface Documents {
  readonly documents: readonly Composed[];
  /** Converts an offset to a line and a column, both counted from 1. */
  readonly place: LineCounter;
  /** Whether parsing was stopped because there were too many errors. */
  readonly isHopeless: boolean;
}

function unreadable(allowed: string): ConfigError {
  return new ConfigError([{ path: '', value: '', allowed }]);
}

/**
 * Parses YAML that must consist of a single document.
 * @throws {ConfigError} if the document is invalid, empty or too large
 */
export function parseYaml(text: string): unknown {
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) throw unreadable(`longer than ${DOCUMENT_BYTES_MAX} bytes`);
  const composed = composeAll(text, { documentsMax: 1 });
  const value = toValue(composed, composed.documents[0]);
  if (composed.documents.length > 1) throw unreadable('invalid YAML: there is more than one document');
  if (value === null || value === undefined) throw unreadable('empty; use `{}` for all defaults');
  return value;
}

/**
 * Parses all documents of a YAML stream in linear time. The library's parseAllDocuments() formats every error with its
 * line, which takes minutes for 100 kB of braces.
 * @param merge whether `<<` merges mappings
 * @param documentsMax maximum number of documents; parsing stops after the first document that exceeds it
 */
export function composeAll(
  text: string,
  { merge = false, documentsMax = Number.POSITIVE_INFINITY }: { merge?: boolean; documentsMax?: number } = {},
): Documents {
  const place = new LineCounter();
  // The library's check for duplicate keys takes quadratic time, so doubledKeys() checks for them instead.
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

/**
 * Yields the tokens of a YAML stream.
 * @throws {ConfigError} if brackets and braces are nested too deeply
 */
function* tokensOf(text: string, place: LineCounter): Generator<CST.Token> {
  const parser = new Parser(place.addNewLine);
  place.addNewLine(0);
  let depth = 0;
  for (const lexeme of new Lexer().lex(text)) {
    if (lexeme === '[' || lexeme === '{') depth++;
    if ((lexeme === ']' || lexeme === '}') && depth > 0) depth--;
    if (depth > DEPTH_MAX) throw unreadable(`invalid YAML: brackets and braces are nested more than ${DEPTH_MAX} deep`);
    yield* parser.next(lexeme);
  }
  yield* parser.end();
}

/**
 * Runs a function with stack traces disabled. The library creates an error object for each error, and most of the time
 * would be spent on the stack traces.
 */
function withoutStacks<T>(work: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Converts a document to a plain value. @throws {ConfigError} if the YAML is invalid */
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

/**
 * Returns an error for each duplicate key.
 * @throws {ConfigError} if there are too many aliases, because toJS() searches the document for each alias
 */
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
