import type { EventRecord } from '#api/events.ts';
import type { FlowRecord } from '#api/flows.ts';
import type { RequestRecord } from '#api/requests.ts';
import { joinEndpoint } from '#core/address.ts';
import { type PrivacyRule, type PrivacyRules, ruleOf } from '#core/privacy.ts';
import type { EventDescriptor } from '#probe/event.ts';

/** Stands for a value that is not shown, where a field must have one. */
const HIDDEN = '*';

/** Fields of the envelope that tell the other end of a connection. */
const PEER_FIELDS: readonly string[] = ['src', 'dst', 'peer', 'srcOwner', 'dstOwner', 'connectionId'];

/**
 * Removes from events and records what the rules of their namespaces do not show. The rules of the Pod and of its peer
 * both apply.
 */
export class Privacy {
  rules: PrivacyRules = {};

  /** @param descriptor undefined for an unknown type, of whose own fields none is shown then */
  event(event: EventRecord, descriptor: EventDescriptor | undefined): EventRecord {
    const rule = this.#ruleOf(event.namespace, [event.peer, event.srcOwner, event.dstOwner]);
    if (rule === undefined) return event;
    const fields = descriptor?.fields ?? {};
    let isChanged = false;
    const shown = Object.entries(event).flatMap(([name, value]): [string, unknown][] => {
      const field = fields[name];
      const isHidden =
        (!rule.peers && PEER_FIELDS.includes(name)) || (field?.private !== undefined && !rule[field.private]);
      if (!isHidden) return [[name, value]];
      isChanged = true;
      if (field === undefined || field.optional === true) return [];
      return [[name, field.type === 'strings' ? [HIDDEN] : field.type === 'number' ? 0 : HIDDEN]];
    });
    if (!isChanged) return event;
    // The sentence may contain any of the values.
    return { ...(Object.fromEntries(shown) as EventRecord), message: descriptor?.help ?? event.type };
  }

  flow(flow: FlowRecord): FlowRecord {
    const rule = this.#ruleOf(flow.namespace, [flow.peer]);
    if (rule === undefined) return flow;
    const shown = rule.names ? flow : withoutNames(flow);
    return rule.peers ? shown : withoutPeer(shown);
  }

  request(request: RequestRecord): RequestRecord {
    const rule = this.#ruleOf(request.namespace, [request.peer]);
    if (rule === undefined) return request;
    const { path, message } = request;
    const shown = rule.paths ? {} : { path: null, message: message.replace(` ${path} from `, ' from ') };
    const named = rule.names ? request : withoutNames(request);
    const hidden = { ...named, ...shown, ...(rule.traces ? {} : { traceId: null }) };
    return rule.peers ? hidden : withoutPeer(hidden);
  }

  /** Returns the rule that applies; undefined if everything is shown. */
  #ruleOf(
    namespace: string | null,
    peers: readonly ({ readonly namespace: string } | undefined)[],
  ): PrivacyRule | undefined {
    const known = peers.flatMap((peer) => (peer === undefined || peer.namespace === '' ? [] : [peer.namespace]));
    const rule = ruleOf(this.rules, [namespace, ...known]);
    return Object.values(rule).every((isShown) => isShown) ? undefined : rule;
  }
}

/** Returns a record without the names by DNS of its other end. */
function withoutNames<T extends { readonly dnsNames?: unknown }>(record: T): T {
  const { dnsNames, ...rest } = record;
  return rest as T;
}

interface Ends {
  readonly role: 'client' | 'server';
  readonly src: string;
  readonly srcPort: number | null;
  readonly dst: string;
  readonly dstPort: number;
  readonly message: string;
  readonly peer?: unknown;
  readonly dnsNames?: unknown;
}

/** Returns a record without the address and the names of its other end. */
function withoutPeer<T extends Ends>(record: T): T {
  const { peer, dnsNames, ...rest } = record;
  const isClient = record.role === 'client';
  const end = isClient
    ? joinEndpoint(record.dst, record.dstPort)
    : joinEndpoint(record.src, record.srcPort ?? undefined);
  const message = record.message.replace(isClient ? ` to ${end}` : ` from ${end}`, isClient ? ' to *' : ' from *');
  return { ...rest, [isClient ? 'dst' : 'src']: HIDDEN, message } as unknown as T;
}
