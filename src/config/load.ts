import { type Document, isScalar, parseDocument, visit } from 'yaml';
import * as z from 'zod';
import { PROBE_ALIASES } from '../probes/index.ts';
import type { AnyProbe } from '../probes/probe.ts';
import { type Labels, Selector } from '../selector.ts';
import {
  holdsOn,
  isMapping,
  type Layer,
  layersOf,
  mergeLayers,
  NODES,
  sectionsOf,
  timedSectionsOf,
} from './document.ts';
import { ConfigError, cutJson, type Fault, faultsOf, pathText } from './faults.ts';
import { inFull } from './in_full.ts';
import { keysAt } from './keys.ts';
import { AIM_KEYS, type Config, configSchema, documentKeys, probeKeys, SECTIONS } from './schema.ts';
import { DOCUMENT_BYTES_MAX } from './watch.ts';

const ALIASES_MAX = 100;
const KEY_LENGTH_MAX = 60;

/** Sections that are in force for a time. */
const TIMED_MAX = 256;

const NOTHING_OVER: ReadonlySet<string> = new Set();

/** Reads configuration documents for a set of probes. */
export class ConfigReader {
  readonly #probes: readonly AnyProbe[];
  readonly #schema: ReturnType<typeof configSchema>;
  readonly #documentKeys: readonly string[];

  constructor(probes: readonly AnyProbe[]) {
    this.#probes = probes;
    this.#schema = configSchema(probes);
    this.#documentKeys = Object.keys(documentKeys(probes));
  }

  /** The configuration of an agent without a file. */
  get defaults(): Config {
    return this.parse('{}');
  }

  /**
   * What a document says for a node.
   * @param labels of the node; without them only the overrides for all nodes hold
   * @param over ids of timed sections whose time is over: they are as if they were not there
   * @throws {ConfigError} with all faults at once, also of overrides that do not hold on this node
   */
  parse(text: string, labels: Labels = {}, over = NOTHING_OVER): Config {
    const document = parseYaml(text);
    const layers = layersOf(document).map((layer) => ({ ...layer, document: this.#withoutAliases(layer.document) }));
    const faults = [...layers.flatMap((layer) => this.#faultsOf(layer)), ...faultsOfNodes(document)];
    if (faults.length > 0) throw new ConfigError(faults);
    const held = layers.filter((layer) => holdsOn(layer, labels));
    const timed = held.flatMap(timedSectionsOf);
    if (timed.length > TIMED_MAX) {
      throw new ConfigError([{ path: '', value: '', allowed: `more than ${TIMED_MAX} sections with for or until` }]);
    }
    const merged = mergeLayers(held, over);
    return { ...this.#schema.parse(merged), timed, document: inFull(this.#schema, merged) };
  }

  #faultsOf(layer: Layer): readonly Fault[] {
    const parsed = this.#schema.safeParse(layer.document);
    const faults = parsed.success ? [] : faultsOf(parsed.error, layer, (path) => this.#knownKeys(path, layer));
    return [...faults, ...faultsOfEnds(layer)];
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

  #knownKeys([first, second, third, ...rest]: readonly PropertyKey[], { path }: Layer): readonly string[] {
    const forNodes = path.length === 0 ? [NODES] : [];
    if (first === undefined) return [...this.#documentKeys, ...forNodes];
    if (first !== 'probes') {
      const keys = [first, second, third, ...rest].filter((key) => key !== undefined);
      return keysAt(z.strictObject(SECTIONS), keys);
    }
    const probe = this.#probes.find(({ name }) => name === second);
    if (probe === undefined) return this.#probes.map(({ name }) => name);
    if (third === undefined) return probeKeys(probe);
    return third === 'pods' ? AIM_KEYS : [];
  }
}

function faultsOfNodes(document: unknown): Fault[] {
  const nodes = isMapping(document) ? document[NODES] : undefined;
  if (nodes === undefined || nodes === null) return [];
  if (!isMapping(nodes)) {
    return [
      { path: NODES, value: cutJson(nodes), allowed: 'a mapping of label selectors to what holds on these nodes' },
    ];
  }
  return Object.keys(nodes).flatMap((selector) => {
    try {
      Selector.parse(selector);
      return [];
    } catch (error) {
      return [
        { path: pathText([NODES, selector]), value: '', allowed: `no label selector: ${(error as Error).message}` },
      ];
    }
  });
}

function faultsOfEnds(layer: Layer): Fault[] {
  return sectionsOf(layer)
    .filter(({ section }) => section['for'] !== undefined && section['until'] !== undefined)
    .map(({ path }) => ({ path: pathText(path), value: '', allowed: 'has both for and until; give one of them' }));
}

function unreadable(allowed: string): ConfigError {
  return new ConfigError([{ path: '', value: '', allowed }]);
}

function parseYaml(text: string): unknown {
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) throw unreadable(`longer than ${DOCUMENT_BYTES_MAX} bytes`);
  // The library compares each key with each other one.
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: false });
  const errors = document.errors.map(({ message }) => oneLine(message));
  if (errors.length === 0) errors.push(...doubledKeys(document));
  if (errors.length > 0) {
    throw new ConfigError(errors.map((message) => ({ path: '', value: '', allowed: `no valid YAML: ${message}` })));
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    throw unreadable(`no valid YAML: ${oneLine((error as Error).message)}`);
  }
  if (value === null || value === undefined) throw unreadable('empty; `{}` asks for all defaults');
  return value;
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
