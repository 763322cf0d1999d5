import * as z from 'zod';
import type { Fault } from '#api/config.ts';
import { KINDS } from '#core/record_kinds.ts';
import { type Labels, Selector } from '#core/selector.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { RECORD_KEYS } from '#probe/records.ts';
import { PROBE_ALIASES } from '#probes/index.ts';
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
import { ConfigError, cutJson, faultsOf, pathText } from './faults.ts';
import { inFull } from './in_full.ts';
import { keysAt } from './keys.ts';
import { type Config, configSchema, documentKeys, POD_FILTER_KEYS, probeKeys, sections } from './schema.ts';
import { parseYaml } from './yaml.ts';

/** Maximum number of sections with `for` or `until`. */
const TIMED_MAX = 256;

/** Maximum number of per-node overrides. Each of them is validated separately. */
const NODES_MAX = 1_000;

const NOTHING_OVER: ReadonlySet<string> = new Set();

/** Reads configuration documents for given probes and record kinds. */
export class ConfigReader {
  readonly #probes: readonly AnyProbe[];
  readonly #kinds: readonly string[];
  readonly #schema: ReturnType<typeof configSchema>;
  readonly #documentKeys: readonly string[];

  /** @param kinds all record kinds */
  constructor(probes: readonly AnyProbe[], kinds: readonly string[] = KINDS) {
    this.#probes = probes;
    this.#kinds = kinds;
    this.#schema = configSchema(probes, kinds);
    this.#documentKeys = Object.keys(documentKeys(probes, kinds));
  }

  /** Returns the configuration of an agent that has no document. */
  get defaults(): Config {
    return this.parse('{}');
  }

  /**
   * Parses a document and resolves it for a node.
   * @param labels labels of the node
   * @param over IDs of expired sections, which are treated as absent
   * @throws {ConfigError} with all errors at once, including errors in overrides for other nodes
   */
  parse(text: string, labels: Labels = {}, over = NOTHING_OVER): Config {
    const document = parseYaml(text);
    const nodes = isMapping(document) ? document[NODES] : undefined;
    if (isMapping(nodes) && Object.keys(nodes).length > NODES_MAX) {
      throw new ConfigError([{ path: NODES, value: '', allowed: `at most ${NODES_MAX} label selectors` }]);
    }
    const layers = layersOf(document).map((layer) => ({ ...layer, document: this.#withoutAliases(layer.document) }));
    const faults = [...layers.flatMap((layer) => this.#faultsOf(layer)), ...faultsOfNodes(document)];
    if (faults.length > 0) throw new ConfigError(faults);
    const held = layers.filter((layer) => holdsOn(layer, labels));
    const timed = held.flatMap(timedSectionsOf);
    if (timed.length > TIMED_MAX) {
      throw new ConfigError([{ path: '', value: '', allowed: `more than ${TIMED_MAX} sections with for or until` }]);
    }
    const merged = mergeLayers(held, over);
    const whole = { path: [], document: merged };
    const config = this.#schema.safeParse(merged);
    // Layers that are valid individually may conflict when they are merged.
    if (!config.success) throw new ConfigError(faultsOf(config.error, whole, (path) => this.#knownKeys(path, whole)));
    return { ...config.data, timed, document: inFull(this.#schema, merged) };
  }

  #faultsOf(layer: Layer): readonly Fault[] {
    const parsed = this.#schema.safeParse(layer.document);
    const faults = parsed.success ? [] : faultsOf(parsed.error, layer, (path) => this.#knownKeys(path, layer));
    return [...faults, ...faultsOfEnds(layer)];
  }

  /**
   * Replaces aliases of probes with their current names. If a probe is listed twice, the redundant alias is kept, and
   * is later rejected as an unknown key.
   */
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
      return keysAt(z.strictObject(sections(this.#kinds)), keys);
    }
    const probe = this.#probes.find(({ name }) => name === second);
    if (probe === undefined) return this.#probes.map(({ name }) => name);
    if (third === undefined) return probeKeys(probe);
    if (third === 'records' && probe.records !== undefined) return RECORD_KEYS;
    return third === 'pods' ? POD_FILTER_KEYS : [];
  }
}

function faultsOfNodes(document: unknown): Fault[] {
  const nodes = isMapping(document) ? document[NODES] : undefined;
  if (nodes === undefined || nodes === null) return [];
  if (!isMapping(nodes)) {
    return [
      { path: NODES, value: cutJson(nodes), allowed: 'a mapping of label selectors to overrides for those nodes' },
    ];
  }
  return Object.keys(nodes).flatMap((selector) => {
    try {
      Selector.parse(selector);
      return [];
    } catch (error) {
      return [
        { path: pathText([NODES, selector]), value: '', allowed: `not a label selector: ${(error as Error).message}` },
      ];
    }
  });
}

function faultsOfEnds(layer: Layer): Fault[] {
  return sectionsOf(layer)
    .filter(({ section }) => section['for'] !== undefined && section['until'] !== undefined)
    .map(({ path }) => ({ path: pathText(path), value: '', allowed: 'has both for and until; give one of them' }));
}
