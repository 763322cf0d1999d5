import { inertJson, visible } from '#core/inert.ts';
import { countText, placeOf } from '#why/drops.ts';
import type { Evidence, Growth, Verdict, WitnessEvent } from '#why/evidence.ts';

/** Counters that grow with every packet, and so explain nothing. */
const ORDINARY =
  /^(IpExt|Ip6?\.(InReceives|InDelivers|OutRequests|OutTransmits|Forw\w*|\w*Octets|\w*Pkts)|Tcp\.(InSegs|OutSegs|ActiveOpens|PassiveOpens|CurrEstab)|Udp6?\.(In|Out)Datagrams|Icmp6?\.\w*(Msgs|Neighbor\w*|Router\w*|MLD\w*|Type\w*)|Icmp6?\.(In|Out)(Echos|EchoReps|EchoReplies)$|Conntrack\.(entries|found|new|insert|delete|search_restart)|TcpExt\.(TCP(HPHits|PureAcks|HPAcks|OrigDataSent|Delivered|AutoCorking|RcvCoalesce|HystartTrain\w*|SynDataActive|Delayed\w*|KeepAlive|AckCompressed)|DelayedACKs|TW|TCPTimeWait\w*))/;
const COUNTERS_MAX = 12;

/** Accumulates what was done and seen, with the time since the start. */
export class Story {
  readonly steps: { readonly atMs: number; readonly text: string }[] = [];
  readonly #startMs = performance.now();
  readonly #print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  tell(text: string): void {
    const atMs = performance.now() - this.#startMs;
    this.steps.push({ atMs, text });
    this.#print(`  ${(atMs / 1000).toFixed(3).padStart(7)} s  ${visible(text)}`);
  }
}

/** Returns a line for each kind of event that the agents have seen. */
export function eventLines(events: readonly WitnessEvent[]): string[] {
  const groups = new Map<string, WitnessEvent[]>();
  for (const event of events) {
    const key = JSON.stringify([event.type, placeOf(event), event.protocol, ...detailsOf(event)]);
    groups.set(key, [...(groups.get(key) ?? []), event]);
  }
  return [...groups.values()].map((group) => {
    const [first] = group as [WitnessEvent];
    const ends = [first.src, first.dst].filter((end) => end !== undefined).join(' > ');
    const details = detailsOf(first).filter((detail) => detail !== '');
    return `${clock(first.time)}  ${countText(group)} × ${first.type} at ${placeOf(first)}: ${[...details, ends, first.protocol ?? ''].join(' ').trim()}`;
  });
}

const DETAILS = ['device', 'direction', 'kind', 'state', 'cause', 'reason', 'symbol', 'waitsFor', 'sentBy'] as const;

function detailsOf(event: WitnessEvent): string[] {
  return DETAILS.map((name) => {
    const value = event[name];
    return value === undefined ? '' : String(value).replace(/\+0x.*/, '');
  });
}

const TIME_AT = 'yyyy-mm-ddT'.length;
const TIME_END = 'yyyy-mm-ddThh:mm:ss.mmm'.length;

function clock(time: string): string {
  return time.slice(TIME_AT, TIME_END);
}

/** Returns a line for each namespace whose error counters have grown. */
export function counterLines(growth: readonly Growth[]): string[] {
  return growth.flatMap(({ place, role, grown }) => {
    const names = Object.keys(grown).filter((name) => !ORDINARY.test(name));
    if (names.length === 0 || (role === 'other' && !names.some((name) => name.startsWith('Conntrack.')))) return [];
    const shown = names.slice(0, COUNTERS_MAX).map((name) => `${name} +${grown[name]}`);
    return [`counters of ${place}: ${shown.join(', ')}${names.length > COUNTERS_MAX ? ', …' : ''}`];
  });
}

export function verdictLines({ sure, cause, text, advice }: Verdict): string[] {
  const lines = [`=> ${sure}: ${cause}: ${visible(text)}.`];
  return advice === '' ? lines : [...lines, `   ${advice}`];
}

/** The result as JSON, with all evidence, from which the verdict can be derived again. */
export function storyJson(
  head: { readonly from: string; readonly to: string },
  story: Story,
  evidence: Evidence,
  verdict: Verdict,
): string {
  return inertJson(JSON.stringify({ ...head, verdict, steps: story.steps, evidence }, null, 2));
}
