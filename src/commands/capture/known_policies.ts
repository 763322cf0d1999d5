import type { EventRecord } from '#api/events.ts';
import { addressOf, formatEndpoint } from '#core/address.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { ipProtocolName } from '#core/protocol_names.ts';
import { clientEndOf } from '#events/client_end.ts';
import { readPortRange } from '#sources/procfs/port_range.ts';
import { type AgentAddress, AgentClient, parseJson } from '../agent_client.ts';

/** Maximum number of connections whose policies are known. A new one takes the place of the oldest. */
const CONNECTIONS_MAX = 4_096;
/** Selects all events that the agent still has. */
const ALL = '1970-01-01T00:00:00Z';

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP = 6;
const UDP = 17;

interface Ends {
  readonly protocol: string;
  readonly src: string;
  readonly dst: string;
}

/**
 * The policies that deny connections, according to the events that the agent has, and to new ones. They are followed while packets are
 * captured, so no packet waits for an answer: the packets before the agent's event have no policy.
 */
export class KnownPolicies implements Disposable {
  /** All policies that packets were matched to. */
  readonly used = new Set<string>();
  readonly #ephemeral = readPortRange(DEFAULT_PATHS.proc);
  readonly #byConnection = new Map<string, string>();
  readonly #closing = new AbortController();

  /** Starts to follow the events. A missing agent is no error, because it was already reported. */
  constructor(agent: AgentAddress) {
    void this.#follow(agent).catch(() => undefined);
  }

  /**
   * Returns the policy that denies the connection of a dropped packet; undefined if it is not known, or not yet.
   * @param netns ID of the network namespace
   * @param bytes packet from the IP header on, which may be cut
   */
  of(netns: bigint | number, ethertype: number, bytes: Uint8Array): string | undefined {
    if (this.#byConnection.size === 0) return undefined;
    const ends = endsOfPacket(ethertype, bytes);
    const policy = ends && this.#byConnection.get(this.#keyOf(String(netns), ends));
    if (policy !== undefined) this.used.add(policy);
    return policy;
  }

  async #follow(agent: AgentAddress): Promise<void> {
    const client = await AgentClient.open(agent);
    const query = { type: 'packet_drop', since: ALL, follow: 'true' };
    for await (const line of client.lines('/api/v1/events', query, this.#closing.signal)) this.#take(parseJson(line));
  }

  #take(value: unknown): void {
    const { netns, protocol, src, dst, policy, policyVerdict } = (value ?? {}) as Partial<EventRecord>;
    const isComplete = [netns, protocol, src, dst, policy].every((text) => typeof text === 'string');
    if (!isComplete || policyVerdict !== 'denied') return;
    const key = this.#keyOf(netns as string, { protocol, src, dst } as Ends);
    this.#byConnection.delete(key);
    this.#byConnection.set(key, policy as string);
    const [oldest] = this.#byConnection.keys();
    if (this.#byConnection.size > CONNECTIONS_MAX && oldest !== undefined) this.#byConnection.delete(oldest);
  }

  /** Returns what all packets of a client to a port of a server have in common, in this direction. */
  #keyOf(netns: string, { protocol, src, dst }: Ends): string {
    const client = clientEndOf({ src, dst }, undefined, this.#ephemeral);
    const ends = [client === 'src' ? addressOf(src) : src, client === 'dst' ? addressOf(dst) : dst];
    return JSON.stringify([netns, protocol, ...ends]);
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
  }
}

/** Returns the ends of a packet of TCP or UDP; undefined for others, later fragments, and packets that are cut before the ports. */
function endsOfPacket(ethertype: number, bytes: Uint8Array): Ends | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isIpv4 = ethertype === ETHERTYPE_IPV4;
  if (!isIpv4 && ethertype !== ETHERTYPE_IPV6) return undefined;
  if (bytes.length < (isIpv4 ? IPV4_BYTES : IPV6_BYTES)) return undefined;
  const protocol = bytes[isIpv4 ? 9 : 6] ?? 0;
  const transport = isIpv4 ? ((bytes[0] ?? 0) & 0xf) * 4 : IPV6_BYTES;
  const isLaterFragment = isIpv4 && (view.getUint16(6) & 0x1fff) !== 0;
  if ((protocol !== TCP && protocol !== UDP) || isLaterFragment || bytes.length < transport + 4) return undefined;
  const [from, size] = isIpv4 ? [12, 4] : [8, 16];
  return {
    protocol: ipProtocolName(protocol),
    src: formatEndpoint(bytes.subarray(from, from + size), view.getUint16(transport)),
    dst: formatEndpoint(bytes.subarray(from + size, from + 2 * size), view.getUint16(transport + 2)),
  };
}
