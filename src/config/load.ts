import { parseDocument } from 'yaml';
import * as z from 'zod';
import { PROBE_ALIASES } from '../probes/index.ts';
import type { AnyProbe } from '../probes/probe.ts';
import { ConfigError, type Fault, faultsOf } from './faults.ts';
import { keysAt } from './keys.ts';
import { type Config, configSchema, SECTIONS } from './schema.ts';

/** Kubernetes allows no more in a ConfigMap. */
const DOCUMENT_BYTES_MAX = 1024 * 1024;

/** Reads configuration documents for a set of probes. */
export class ConfigReader {
  readonly #probes: readonly AnyProbe[];
  readonly #schema: ReturnType<typeof configSchema>;

  constructor(probes: readonly AnyProbe[]) {
    this.#probes = probes;
    this.#schema = configSchema(probes);
  }

  /** The configuration of an agent without a file. */
  get defaults(): Config {
    return this.#schema.parse({});
  }

  /** @throws {ConfigError} with all faults at once */
  parse(text: string): Config {
    const document = this.#withoutAliases(parseYaml(text));
    const parsed = this.#schema.safeParse(document);
    if (parsed.success) return parsed.data;
    throw new ConfigError(faultsOf(parsed.error, document, (path) => this.#knownKeys(path)));
  }

  /** A probe that has two of its names in the document keeps the second: it is refused. */
  #withoutAliases(document: unknown): unknown {
    if (!isMapping(document) || !isMapping(document['probes'])) return document;
    const given = document['probes'];
    const probes = new Map<string, unknown>();
    for (const [key, value] of Object.entries(given)) {
      const name = PROBE_ALIASES.get(key) ?? key;
      const isFree = !Object.hasOwn(given, name) && !probes.has(name);
      const exists = this.#probes.some((probe) => probe.name === name);
      probes.set(isFree && exists ? name : key, value);
    }
    return { ...document, probes: Object.fromEntries(probes) };
  }

  #knownKeys([first, second, ...rest]: readonly PropertyKey[]): readonly string[] {
    if (first === undefined) return ['detail', 'probes', ...Object.keys(SECTIONS)];
    if (first !== 'probes') {
      const path = [first, second, ...rest].filter((key) => key !== undefined);
      return keysAt(z.strictObject(SECTIONS), path);
    }
    const probe = this.#probes.find(({ name }) => name === second);
    if (probe === undefined) return this.#probes.map(({ name }) => name);
    const forEvents = Object.keys(probe.events).length > 0 ? ['events', 'limit'] : [];
    return ['enabled', 'metrics', 'detail', ...forEvents, ...Object.keys(probe.options)];
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseYaml(text: string): unknown {
  const fail = (faults: readonly Fault[]) => new ConfigError(faults);
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) {
    throw fail([{ path: '', value: '', allowed: `longer than ${DOCUMENT_BYTES_MAX} bytes` }]);
  }
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors.length > 0) {
    throw fail(
      document.errors.map(({ message }) => ({ path: '', value: '', allowed: `no valid YAML: ${oneLine(message)}` })),
    );
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    throw fail([{ path: '', value: '', allowed: `no valid YAML: ${oneLine((error as Error).message)}` }]);
  }
  if (value === null || value === undefined) {
    throw fail([{ path: '', value: '', allowed: 'empty; `{}` asks for all defaults' }]);
  }
  return value;
}

/** The library adds the line of the document and an arrow below it. */
function oneLine(message: string): string {
  return (message.split('\n', 1)[0] ?? '').replace(/:$/, '');
}
