import type { EventRecord, Peer } from '#api/events.ts';
import type { PolicyVerdict } from '#api/words.ts';
import { addressOf, portOf } from '#core/address.ts';
import type { PolicyCache } from '#kubernetes/policy_cache.ts';
import type { PeerLookup } from '#peers/peer.ts';
import { isPublic } from '#peers/public.ts';
import { Unknown } from '#policies/answer.ts';
import type { Connection as PolicyConnection } from '#policies/connection.ts';
import { type Decision, type Decisions, decideBoth } from '#policies/decide.ts';
import { addressEnd, connectionOf, type KnownEnd } from '#policies/ends.ts';
import { explain } from '#policies/explain.ts';
import { policyGroups } from '#policies/groups.ts';
import { PROTOCOLS, type Protocol } from '#policies/model.ts';
import { parseAddress } from '#policies/network.ts';
import type { Connection } from '../connection_id.ts';
import { causeOf } from '../incidents/causes.ts';

/** Fields that a verdict adds to an event. */
export interface PolicyFields {
  readonly policy: string;
  readonly policyVerdict: PolicyVerdict;
  readonly policyDirection?: 'egress' | 'ingress';
  readonly policyBy?: readonly string[];
  readonly policySure: 'seen' | 'inferred';
}

/** A connection to judge: the client before masquerading, and the server after DNAT. */
interface Question {
  readonly client: string;
  readonly server: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** Whether the event shows the drop of a firewall. */
  readonly isSeen: boolean;
}

export interface PolicyJudgeOptions {
  readonly cache: PolicyCache;
  readonly peers: () => PeerLookup | undefined;
}

/** Says which policy of the Kubernetes API denies the connection of an event, or that none does. */
export class PolicyJudge {
  readonly #options: PolicyJudgeOptions;
  readonly #decisions = new Map<PolicyVerdict, number>();

  constructor(options: PolicyJudgeOptions) {
    this.#options = options;
  }

  /** Number of decisions by verdict. */
  get decisions(): ReadonlyMap<PolicyVerdict, number> {
    return this.#decisions;
  }

  /**
   * Returns the verdict about the connection of an event. Returns undefined at once if no policy can have caused the
   * event. A timeout that no policy explains resolves to undefined. Never rejects.
   * @param connection connection of the event; undefined if it has none
   */
  judge(event: EventRecord, connection: Connection | undefined): Promise<PolicyFields | undefined> | undefined {
    const question = questionOf(event, connection);
    const lookup = this.#options.peers();
    if (question === undefined || lookup === undefined) return undefined;
    return this.#answer(question, lookup);
  }

  async #answer(question: Question, lookup: PeerLookup): Promise<PolicyFields | undefined> {
    const fields = await this.#decide(question, lookup);
    if (fields.policyVerdict !== 'denied' && !question.isSeen) return undefined;
    const { policyVerdict } = fields;
    this.#decisions.set(policyVerdict, (this.#decisions.get(policyVerdict) ?? 0) + 1);
    return fields;
  }

  /** Reads the labels of namespaces only if the verdict depends on them. */
  async #decide(question: Question, lookup: PeerLookup): Promise<PolicyFields> {
    const fields = await this.#decideBy(question, lookup, false);
    return fields.policyVerdict === 'unknown' ? this.#decideBy(question, lookup, true) : fields;
  }

  async #decideBy(
    { client, server, port, protocol, isSeen }: Question,
    lookup: PeerLookup,
    withNamespaces: boolean,
  ): Promise<PolicyFields> {
    const policySure = isSeen ? 'seen' : 'inferred';
    const from = await this.#endOf(client, lookup, withNamespaces);
    const to = await this.#endOf(server, lookup, withNamespaces);
    if (typeof to === 'string' || typeof from === 'string') {
      const reason = [from, to].filter((end) => typeof end === 'string').join('; ');
      return { policy: `not known: ${reason}`, policyVerdict: 'unknown', policySure };
    }
    const asked = connectionOf(from, to, protocol, port);
    const namespaces = [...new Set([from, to].flatMap(({ end }) => end.pod?.namespace ?? []))];
    const { cache } = this.#options;
    const isWhole = [from, to].every(({ end }) => end.pod !== undefined || end.isPod === false);
    let decisions = decideBoth(await cache.policies(namespaces, isWhole), asked);
    // A policy may have been created since the policies were read.
    if (isSeen && decisions.verdict === 'allowed' && cache.refresh(namespaces)) {
      decisions = decideBoth(await cache.policies(namespaces, isWhole), asked);
    }
    return { ...fieldsOf(decisions, asked, await this.#notEvaluated(decisions)), policySure };
  }

  /** Returns the API groups with policies that are not evaluated, if they may explain the drop. */
  async #notEvaluated({ verdict }: Decisions): Promise<readonly string[]> {
    return verdict === 'denied' ? [] : policyGroups((await this.#options.cache.groups()) ?? []);
  }

  /** Returns the owner of an address as an end of a connection, or the reason why it cannot be judged. */
  async #endOf(ip: string, lookup: PeerLookup, withNamespaces: boolean): Promise<KnownEnd | string> {
    const address = parseAddress(ip);
    if (address === undefined) return `${ip} is not an address`;
    const owner: Peer | undefined = lookup.find(ip);
    if (owner?.kind === 'service') return `the Pod behind the Service ${owner.namespace}/${owner.name}`;
    if (owner?.kind === 'pod') {
      const pod = await this.#options.cache.pod(owner.namespace, owner.name, withNamespaces);
      return pod ?? `there is no Pod ${owner.namespace}/${owner.name}`;
    }
    const isOutside = owner?.kind === 'external' || owner?.kind === 'node' || (owner === undefined && isPublic(ip));
    return addressEnd(address, isOutside ? false : new Unknown(`whether ${ip} is the address of a Pod`), undefined);
  }
}

/** Returns the question that an event poses; undefined if its cause is not a firewall, or a timeout. */
function questionOf(event: EventRecord, connection: Connection | undefined): Question | undefined {
  if (connection === undefined) return undefined;
  const isSeen = causeOf(event) === 'firewall';
  const isTimeout =
    event.type === 'connection_timed_out' || (event.type === 'connection_failed' && event['cause'] === 'timeout');
  const protocol = PROTOCOLS.find((name) => name.toLowerCase() === connection.protocol);
  if ((!isSeen && !isTimeout) || protocol === undefined) return undefined;
  const { connectionClient, connectionServer } = event;
  const isTracked = typeof connectionClient === 'string' && typeof connectionServer === 'string';
  const server = isTracked ? addressOf(connectionServer) : connection.server;
  const port = isTracked ? (portOf(connectionServer) ?? connection.port) : connection.port;
  return { client: isTracked ? addressOf(connectionClient) : connection.client, server, port, protocol, isSeen };
}

const NOBODY: ReadonlySet<Decision['cause']> = new Set(['unselected', 'no pod', 'host network', 'itself', 'own node']);

function fieldsOf(
  { verdict, egress, ingress }: Decisions,
  asked: PolicyConnection,
  notEvaluated: readonly string[],
): Omit<PolicyFields, 'policySure'> {
  const decided = [egress, ingress].find((decision) => decision.verdict === verdict) ?? ingress;
  const also = notEvaluated.length === 0 ? '' : `; may also apply, not evaluated: ${notEvaluated.join(', ')}`;
  if (verdict === 'allowed') {
    const policyVerdict = NOBODY.has(egress.cause) && NOBODY.has(ingress.cause) ? 'none' : 'allowed';
    return { policy: `no policy of the Kubernetes API denies this${also}`, policyVerdict };
  }
  const { direction, by } = decided;
  const reason = explain(decided, asked);
  const policy = verdict === 'denied' ? `${direction} denied: ${reason}` : `not known: ${direction}: ${reason}${also}`;
  return {
    policy,
    policyVerdict: verdict,
    policyDirection: direction,
    ...(by.length === 0 ? {} : { policyBy: by }),
  };
}
