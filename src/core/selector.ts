/** Labels of a Pod or a node. */
export type Labels = Readonly<Record<string, string>>;

interface Requirement {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | 'absent';
  readonly values: readonly string[];
}

/** Thrown for an invalid label selector. `at` is the position of the error, counted from 1. */
export class SelectorError extends Error {
  override readonly name = 'SelectorError';

  constructor(at: number, expected: string, found: string) {
    super(`${expected} at character ${at}, not ${found}`);
  }
}

/** Syntax and length limits of labels in Kubernetes (staging/src/k8s.io/apimachinery/pkg/util/validation). */
const NAME = /^[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;
const PREFIX_LENGTH_MAX = 253;

function isKey(text: string): boolean {
  const slash = text.indexOf('/');
  const prefix = slash < 0 ? undefined : text.slice(0, slash);
  return (
    NAME.test(text.slice(slash + 1)) &&
    (prefix === undefined || (prefix.length <= PREFIX_LENGTH_MAX && PREFIX.test(prefix)))
  );
}

export function isLabel(key: string, value: string): boolean {
  return isKey(key) && (value === '' || NAME.test(value));
}

const TOKEN = /[!(),]|==?|!=|[^\s!(),=]+/y;

interface Token {
  readonly text: string;
  /** Position of the first character, counted from 1. */
  readonly at: number;
}

/**
 * Label selector in the syntax of Kubernetes: `app=web,tier!=x`, `env in (a, b)`, `!canary`. An empty selector matches
 * all labels.
 */
export class Selector {
  readonly #requirements: readonly Requirement[];

  private constructor(requirements: readonly Requirement[]) {
    this.#requirements = requirements;
  }

  /**
   * Parses a label selector.
   * @throws {SelectorError} if the selector is invalid
   */
  static parse(text: string): Selector {
    return new Selector(new Parser(text).requirements());
  }

  /** As in Kubernetes, `!=` and `notin` also match labels without the key. */
  matches(labels: Labels): boolean {
    return this.#requirements.every((requirement) => isMet(requirement, labels));
  }
}

function isMet({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
    case 'in':
      return value !== undefined && values.includes(value);
    case 'notin':
      return value === undefined || !values.includes(value);
  }
}

class Parser {
  readonly #tokens: Token[] = [];
  readonly #end: Token;
  #next = 0;

  constructor(text: string) {
    this.#end = { text: '', at: text.length + 1 };
    const space = /\s*/y;
    for (let at = 0; ; ) {
      space.lastIndex = at;
      at += space.exec(text)?.[0].length ?? 0;
      if (at >= text.length) break;
      TOKEN.lastIndex = at;
      // `!=` is checked first, because TOKEN would match only its `!`.
      const found = text.startsWith('!=', at) ? '!=' : (TOKEN.exec(text)?.[0] ?? text.charAt(at));
      this.#tokens.push({ text: found, at: at + 1 });
      at += found.length;
    }
  }

  requirements(): Requirement[] {
    if (this.#tokens.length === 0) return [];
    const found = [this.#requirement()];
    while (this.#peek() !== this.#end) {
      this.#expect(',', 'a comma or the end');
      found.push(this.#requirement());
    }
    return found;
  }

  #requirement(): Requirement {
    if (this.#peek().text === '!') {
      this.#take();
      return { key: this.#key(), operator: 'absent', values: [] };
    }
    const key = this.#key();
    const operator = this.#peek();
    switch (operator.text) {
      case '=':
      case '==':
      case '!=':
        this.#take();
        return { key, operator: operator.text === '!=' ? 'notin' : 'in', values: [this.#value()] };
      case 'in':
      case 'notin':
        this.#take();
        return { key, operator: operator.text, values: this.#values() };
      case ',':
      case '':
        return { key, operator: 'exists', values: [] };
      default:
        throw refused(operator, '=, ==, !=, in, notin, a comma or the end');
    }
  }

  #key(): string {
    const token = this.#take();
    if (!isKey(token.text)) throw refused(token, 'the key of a label, like app or app.kubernetes.io/name,');
    return token.text;
  }

  /** Parses a value, which may be empty. */
  #value(): string {
    const token = this.#peek();
    if (token.text === ',' || token.text === ')' || token === this.#end) return '';
    if (!NAME.test(token.text))
      throw refused(token, 'the value of a label (letters, digits, - _ . between them, at most 63)');
    return this.#take().text;
  }

  #values(): string[] {
    this.#expect('(', '( and values');
    const values = [this.#value()];
    while (this.#peek().text === ',') {
      this.#take();
      values.push(this.#value());
    }
    this.#expect(')', 'a comma or )');
    return values;
  }

  #expect(text: string, expected: string): void {
    const token = this.#take();
    if (token.text !== text) throw refused(token, expected);
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? this.#end;
  }

  #take(): Token {
    const token = this.#peek();
    this.#next++;
    return token;
  }
}

const FOUND_LENGTH_MAX = 40;

function refused({ at, text }: Token, expected: string): SelectorError {
  const found = text.length > FOUND_LENGTH_MAX ? `${text.slice(0, FOUND_LENGTH_MAX)}…` : text;
  return new SelectorError(at, expected, text === '' ? 'the end' : `"${found}"`);
}
