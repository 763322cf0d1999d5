import * as z from 'zod';
import { FLOWS_SUMMARY } from '#api/flows.ts';
import { parseDuration } from '#core/duration.ts';
import type { Growth, Role, WitnessEvent } from '#why/evidence.ts';
import { type AgentAddress, AgentClient, ownerText, parseJson } from '../agent_client.ts';

const EVENTS_MAX = 20_000;
/** Maximum number of namespaces whose counters are read. */
const PLACES_MAX = 64;
const AT_ONCE = 4;
/** Milliseconds after which no further namespaces are read. */
const COUNT_MS = 1_000;
const NANOSECONDS_PER_MS = 1e6;
const FOLD_MS_MAX = 60_000;

const NODE = z.object({ node: z.string() });
const CONFIG = z.object({ document: z.object({ events: z.object({ fold: z.string().optional() }).optional() }) });
const ENTITIES = z.object({
  entities: z.array(
    z.object({
      kind: z.string(),
      namespace: z.string(),
      pod: z.string(),
      netns: z.string(),
      ips: z.array(z.string()),
    }),
  ),
});
const COUNTERS = z.object({
  namespaces: z.array(z.object({ tables: z.record(z.string(), z.record(z.string(), z.number())) })),
});
const EVENT = z.looseObject({
  type: z.string(),
  severity: z.string(),
  time: z.string(),
  node: z.string(),
  namespace: z.string().nullable(),
  pod: z.string().nullable(),
});

export type KnownEntity = z.infer<typeof ENTITIES>['entities'][number];

interface Counted {
  readonly place: string;
  readonly role: Role;
  readonly counts: ReadonlyMap<string, number>;
  readonly hasConntrack: boolean;
}

/** An agent that is asked about what it sees during a trial. */
export class Witness {
  readonly node: string;
  /** Whether it is the agent of this node, whose events have the time of this node's clock. */
  readonly isOwnNode: boolean;
  readonly entities: readonly KnownEntity[];
  readonly events: WitnessEvent[] = [];
  /** Milliseconds after which repeated events are reported at the latest. */
  readonly foldMs: number;
  /** Why the agent is no longer asked; undefined while it is. */
  lost: string | undefined;
  /** Why no counters were read, although the agent knows an end of the connection; undefined if they were. */
  lack: string | undefined;
  readonly #client: AgentClient;
  readonly #signal: AbortSignal;
  #before: readonly (Counted & { readonly entity: KnownEntity })[] = [];

  private constructor(
    client: AgentClient,
    signal: AbortSignal,
    found: Pick<Witness, 'node' | 'isOwnNode' | 'entities' | 'foldMs'>,
  ) {
    this.#client = client;
    this.#signal = signal;
    this.node = found.node;
    this.isOwnNode = found.isOwnNode;
    this.entities = found.entities;
    this.foldMs = found.foldMs;
  }

  /**
   * Subscribes to the events of an agent.
   * @param isOwnNode whether it is the agent of this node
   * @throws if the agent cannot be reached, refuses, or has another version
   */
  static async open(address: AgentAddress, signal: AbortSignal, isOwnNode: boolean): Promise<Witness> {
    const client = await AgentClient.open(address);
    const lines = await client.subscribe('/api/v1/events', { follow: 'true', last: '0' }, signal);
    const read = async (path: string) => parseJson(await client.read(path, {}, signal));
    const agent = NODE.safeParse(await read('/api/v1/agent')).data;
    const known = ENTITIES.safeParse(await read('/api/v1/entities')).data;
    if (agent === undefined || known === undefined) {
      throw new Error('the response cannot be parsed, because the agent has a different version');
    }
    const fold = CONFIG.safeParse(await read('/api/v1/config')).data?.document.events?.fold;
    const foldMs = Math.min((parseDuration(fold ?? '5s') ?? 0) / NANOSECONDS_PER_MS, FOLD_MS_MAX);
    const found = { node: agent.node, isOwnNode, entities: known.entities, foldMs };
    const witness = new Witness(client, signal, found);
    void witness.#follow(lines);
    return witness;
  }

  async #follow(lines: AsyncGenerator<string>): Promise<void> {
    try {
      for await (const line of lines) {
        const { data } = EVENT.safeParse(parseJson(line));
        if (data !== undefined && this.events.length < EVENTS_MAX) this.events.push(data as WitnessEvent);
      }
      if (!this.#signal.aborted) this.lost ??= 'the agent has ended the stream of its events';
    } catch (error) {
      this.lost ??= (error as Error).message;
    }
  }

  /** Discards the events that have arrived so far. */
  forget(): void {
    this.events.length = 0;
  }

  /** Reads the counters of the client, the server and the node, and of the other namespaces if there are few. */
  async countBefore(roleOf: (entity: KnownEntity) => Role): Promise<void> {
    const ranks: readonly string[] = ['client', 'server', 'node'];
    const rank = (entity: KnownEntity) => {
      const found = ranks.indexOf(roleOf(entity) === 'other' ? entity.kind : roleOf(entity));
      return found < 0 ? ranks.length : found;
    };
    const chosen = [...this.entities].sort((a, b) => rank(a) - rank(b)).slice(0, PLACES_MAX);
    this.#before = await this.#countAll(chosen, roleOf);
  }

  /** Returns how the counters have grown since `countBefore`. */
  async grown(roleOf: (entity: KnownEntity) => Role): Promise<Growth[]> {
    const after = await this.#countAll(
      this.#before.map(({ entity }) => entity),
      roleOf,
    );
    return after.map(({ entity, place, role, counts, hasConntrack }) => {
      const before = this.#before.find((one) => one.entity === entity)?.counts;
      const changes = [...counts].map(([name, value]) => [name, value - (before?.get(name) ?? value)] as const);
      return { place, role, hasConntrack, grown: Object.fromEntries(changes.filter(([, change]) => change > 0)) };
    });
  }

  async #countAll(entities: readonly KnownEntity[], roleOf: (entity: KnownEntity) => Role) {
    const found: (Counted & { readonly entity: KnownEntity })[] = [];
    const startMs = performance.now();
    const isLate = () => performance.now() - startMs > COUNT_MS;
    for (let at = 0; at < entities.length && this.lost === undefined; at += AT_ONCE) {
      // The first ones are those that matter most.
      if (at > 0 && isLate()) break;
      const answers = entities.slice(at, at + AT_ONCE).map(async (entity) => {
        const counts = await this.#count(entity);
        if (counts === undefined) return;
        const place = ownerText(entity.namespace, entity.pod);
        const name = place === 'node' ? `node ${this.node}` : place;
        const hasConntrack = counts.has('Conntrack.drop');
        found.push({ entity, place: name, role: roleOf(entity), counts, hasConntrack });
      });
      await Promise.all(answers);
    }
    return found;
  }

  async #count({ namespace, pod }: KnownEntity): Promise<ReadonlyMap<string, number> | undefined> {
    try {
      const query = pod === '' ? {} : { namespace, pod };
      const { data } = COUNTERS.safeParse(parseJson(await this.#client.read('/api/v1/counters', query, this.#signal)));
      const tables = data?.namespaces[0]?.tables;
      if (tables === undefined) return undefined;
      return new Map(
        Object.entries(tables).flatMap(([table, fields]) =>
          Object.entries(fields).map(([field, value]) => [`${table}.${field}`, value] as const),
        ),
      );
    } catch (error) {
      // An older agent has no counters. Events alone are evidence, too.
      this.lack ??= (error as Error).message;
      return undefined;
    }
  }

  /**
   * Returns a sentence about the connections of the client to a port of the server that the probe `flow` has counted,
   * other ones than the trial included; undefined if it has counted none.
   */
  async flows(roleOf: (entity: KnownEntity) => Role, peer: string, port: number): Promise<string | undefined> {
    const client = this.entities.find((entity) => roleOf(entity) === 'client');
    if (client === undefined || this.lost !== undefined) return undefined;
    const { namespace, pod } = client;
    try {
      const query = { namespace, pod, peer, port: String(port), role: 'client' };
      const { data } = FLOWS_SUMMARY.safeParse(
        parseJson(await this.#client.read('/api/v1/flows', query, this.#signal)),
      );
      const [edge] = data?.edges ?? [];
      if (edge === undefined) return undefined;
      const failed = Object.entries(edge.failed).map(([cause, count]) => `${count} failed (${cause})`);
      return `flows of ${ownerText(namespace, pod)} to port ${port} of ${peer}, in all: ${[`${edge.connections} established`, ...failed].join(', ')}`;
    } catch {
      // The probe `flow` is off, or the agent is older.
      return undefined;
    }
  }
}
