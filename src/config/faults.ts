import type { z } from 'zod';
import type { Fault } from '#api/config.ts';
import { visible } from '#core/inert.ts';
import type { Layer } from './document.ts';

export function formatFault({ path, value, allowed }: Fault): string {
  const place = path === '' ? 'the document' : path;
  return value === '' ? `${place}: ${allowed}` : `${place}: ${value} is not allowed; allowed: ${allowed}`;
}

function inert({ path, value, allowed }: Fault): Fault {
  return { path: visible(path), value: visible(value), allowed: visible(allowed) };
}

/** Maximum number of errors to report. */
const FAULTS_MAX = 100;

/** Thrown for an invalid configuration. It contains the errors in the configuration, up to a limit. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    const rest = faults.length - FAULTS_MAX;
    // Errors quote the document, which may contain control characters.
    const shown = faults.slice(0, FAULTS_MAX).map(inert);
    if (rest > 0) shown.push({ path: '', value: '', allowed: `${rest} more errors` });
    super(shown.map(formatFault).join('\n'));
    this.faults = shown;
  }
}

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/**
 * Converts the zod issues of a layer to errors in the document.
 * @param knownKeys returns the valid keys of the object at a path in the layer
 */
export function faultsOf(
  error: z.ZodError,
  { path, document }: Layer,
  knownKeys: (path: Path) => readonly string[],
): Fault[] {
  const place = (within: Path) => pathText([...path, ...within]);
  return error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') {
      return [{ path: place(issue.path), value: valueText(document, issue.path), allowed: allowedBy(issue) }];
    }
    const known = knownKeys(issue.path);
    return issue.keys.map((key, index) => ({
      path: place([...issue.path, key]),
      value: '',
      // Errors beyond the limit are not reported, so it is not worth searching for a similar key.
      allowed: index < FAULTS_MAX ? unknownKeyText(key, known) : 'unknown key',
    }));
  });
}

function unknownKeyText(key: string, known: readonly string[]): string {
  const near = nearest(key, known);
  const guess = near === undefined ? '' : ` (did you mean ${near}?)`;
  return `unknown key${guess}; valid keys: ${known.join(', ')}`;
}

const TYPES: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  object: 'a mapping of keys to values',
  record: 'a mapping of keys to values',
  array: 'a list',
  string: 'a string',
  number: 'a number',
  int: 'an integer',
};

function allowedBy(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (isProbe(issue.path)) return `true, false, or ${TYPES['object']}`;
      return TYPES[issue.expected] ?? issue.expected;
    case 'invalid_value':
      return `one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `at least ${issue.minimum}`;
    case 'too_big':
      return `at most ${issue.maximum}`;
    case 'invalid_key':
      return issue.issues[0]?.message ?? issue.message;
    default:
      return issue.message;
  }
}

/** Whether the path is that of a probe section, which may be a boolean instead of a mapping. */
function isProbe(path: Path): boolean {
  return path.length === 2 && path[0] === 'probes';
}

/** Formats a path like `probes.packetloss.limit` or `nodes["pool=edge"].detail`. */
export function pathText(path: Path): string {
  return path
    .map(String)
    .map((key) => (/^[\w-]{1,60}$/.test(key) ? `.${key}` : `[${cutJson(key)}]`))
    .join('')
    .replace(/^\./, '');
}

const VALUE_LENGTH_MAX = 60;

function valueText(document: unknown, path: Path): string {
  let value: unknown = document;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return '';
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return isSecret(path, value) ? '(hidden)' : cutJson(value);
}

export function cutJson(value: unknown): string {
  const text = withoutCredentials(jsonOf(value));
  return text.length > VALUE_LENGTH_MAX ? `${text.slice(0, VALUE_LENGTH_MAX)}…` : text;
}

const SECRETIVE = /pass|secret|token|credential|auth|headers|key$/i;

/** Whether a value may be secret. Users may have put a password where a file name belongs. */
function isSecret(path: Path, value: unknown): boolean {
  if (path[0] !== 'sinks' && path[0] !== 'log') return false;
  return (
    path.some((key) => SECRETIVE.test(String(key))) || (typeof value === 'object' && SECRETIVE.test(jsonOf(value)))
  );
}

function withoutCredentials(text: string): string {
  return text.replace(/\/\/[^/\s]*@/g, '//(hidden)@');
}

/** Formats a value as JSON. A value can contain itself through a YAML alias. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return 'a value that contains itself';
  }
}

/** Maximum length of a word that is compared. All known names are much shorter. */
const WORD_LENGTH_MAX = 64;
/** Maximum edit distance of a typo, as a fraction of the word's length. */
const SLIP_SHARE = 0.4;

/**
 * Returns the candidate with the smallest edit distance to the word; undefined if the distance is too large for a typo.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > WORD_LENGTH_MAX) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length * SLIP_SHARE)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * Returns the edit distance: the number of insertions, deletions, substitutions and swaps of adjacent letters (optimal
 * string alignment).
 */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  const at = (i: number, j: number) => rows[i]?.[j] ?? 0;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const best = Math.min(replaced, at(i - 1, j) + 1, at(i, j - 1) + 1);
      row.push(swapped ? Math.min(best, at(i - 2, j - 2) + 1) : best);
    }
  }
  return at(a.length, b.length);
}
