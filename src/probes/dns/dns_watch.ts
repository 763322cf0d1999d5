import { type BpfObject, clockOffset } from 'bpf-napi';
import { dnsEnd, dnsKey, dnsMissingKey, dnsRcode, dnsRole, dnsWaiting, type Layout } from '#bpf/generated/dns.ts';
import { bytesOf, nameOf } from '#bpf/layout.ts';
import { formatIp, joinEndpoint } from '#core/address.ts';
import { addCounters, type Counter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { mostAmplified, nameText } from './dns_names.ts';
import { typeName } from './dns_rows.ts';

const WAITING: readonly Layout['map'][] = ['dns_waiting', 'dns_waiting_more'];
const MISSING: Layout['map'] = 'dns_missing';
const MISSING_TAKEN: Layout['map'] = 'dns_missing_taken';
export const GIVE_UP: Layout['program'] = 'dns_give_up';

const NS_PER_MS = 1_000_000n;
const NANOSECONDS = 1e-9;
const FOREVER = 0xffff_ffff_ffff_ffffn;

export const DNS_EVENTS = defineEvents({
  dns_unanswered: {
    help: 'A DNS query got no answer within the time `timeout`.',
    severity: 'warning',
    equalBy: ['role', 'name', 'qtype'],
    client: ({ role }) => (role === 'client' ? 'src' : 'dst'),
    fields: {
      role: { type: 'string', help: 'Role of the Pod: client if it sent the query, server if it received it.' },
      name: { type: 'string', private: 'names', help: 'Name that was asked for, in lower case.' },
      qtype: { type: 'string', help: 'Type of the query, such as a or aaaa.' },
      server: {
        type: 'string',
        private: 'peers',
        help: 'Address of the DNS server, or of the client if the role is server.',
      },
      queries: { type: 'number', help: 'Number of times that the same query was sent.' },
      seconds: { type: 'number', help: 'Time since the query was sent.' },
    },
  },
  dns_nxdomain_storm: {
    help: 'Most answers that a Pod gets from DNS servers are NXDOMAIN. Repeated at most once a minute while this lasts.',
    severity: 'warning',
    equalBy: [],
    fields: {
      answers: { type: 'number', help: 'Answers with NXDOMAIN.' },
      share: { type: 'number', help: 'Share of these among all answers: 0 to 1.' },
      seconds: { type: 'number', help: 'Period in which the answers were counted.' },
      names: {
        type: 'strings',
        private: 'names',
        help: 'Names that do not exist, the most frequent first; at most 10.',
      },
      amplified: {
        type: 'string',
        private: 'names',
        help: 'Name that was asked for in several ways, because a search list completes it.',
        optional: true,
      },
      askedAs: { type: 'number', help: 'Number of different names that were asked for instead.', optional: true },
    },
  },
});

export type DnsFinding =
  | {
      readonly type: 'dns_unanswered';
      readonly place: Place;
      readonly body: Omit<EventBody<(typeof DNS_EVENTS)['dns_unanswered']>, 'netns'>;
    }
  | {
      readonly type: 'dns_nxdomain_storm';
      readonly place: Place;
      readonly body: Omit<EventBody<(typeof DNS_EVENTS)['dns_nxdomain_storm']>, 'netns'>;
    };

interface Place {
  readonly netns: NetnsId;
  readonly cgroup: Counter;
}

/** Returns the time of the kernel's monotonic clock in nanoseconds, which Node.js uses as well. */
function now(): bigint {
  return process.hrtime.bigint();
}

/** Returns the number of queries that wait for an answer, by namespace, cgroup and role. */
export function waitingQueries(object: BpfObject): (Place & { readonly role: number; readonly count: number })[] {
  return WAITING.flatMap((map) => {
    const { count, view, valueAt } = object.map(map).dump();
    return Array.from({ length: count }, (_, index) => {
      const at = valueAt(index);
      return { ...placeAt(view, at), role: dnsWaiting.role(view, at), count: dnsWaiting.copies(view, at) };
    });
  });
}

function placeAt(view: DataView, at: number): Place {
  return { netns: asNetnsId(dnsWaiting.netns(view, at)), cgroup: dnsWaiting.cgroup(view, at) };
}

/** Gives up the queries that have waited for too long. Returns the events about them. */
export function giveUp(object: BpfObject, timeoutMs: number): Extract<DnsFinding, { type: 'dns_unanswered' }>[] {
  const time = now();
  return endWaiting(object, time - BigInt(timeoutMs) * NS_PER_MS, 'unanswered').map(({ key, view, at }) =>
    unanswered(key, view, at, time),
  );
}

/** Ends all queries that still wait when the probe is stopped. */
export function stopWaiting(object: BpfObject): void {
  endWaiting(object, FOREVER, 'stopped');
}

interface Ended {
  readonly key: DataView;
  readonly view: DataView;
  readonly at: number;
}

function endWaiting(object: BpfObject, latest: bigint, end: keyof typeof dnsEnd): Ended[] {
  return WAITING.flatMap((map) => endWaitingIn(object, map, latest, end));
}

function endWaitingIn(object: BpfObject, map: Layout['map'], latest: bigint, end: keyof typeof dnsEnd): Ended[] {
  const { count, view, keyAt, valueAt } = object.map(map).dump();
  const ended: Ended[] = [];
  for (let index = 0; index < count; index++) {
    const at = valueAt(index);
    if (BigInt(dnsWaiting.start(view, at)) > latest) continue;
    const bytes = view.buffer.slice(view.byteOffset + keyAt(index), view.byteOffset + keyAt(index) + dnsKey.SIZE);
    const args = new BigUint64Array(dnsKey.SIZE / 8 + 2);
    args.set(new BigUint64Array(bytes));
    args.set([latest, BigInt(dnsEnd[end])], dnsKey.SIZE / 8);
    if (object.run(GIVE_UP, args) === 1) ended.push({ key: new DataView(bytes), view, at });
  }
  return ended;
}

function unanswered(
  key: DataView,
  view: DataView,
  at: number,
  time: bigint,
): Extract<DnsFinding, { type: 'dns_unanswered' }> {
  const start = BigInt(dnsWaiting.start(view, at));
  const role = nameOf(dnsRole, dnsWaiting.role(view, at)) ?? '';
  const bytes = dnsKey.peer(key, 0);
  const isIpv6 = dnsKey.isIpv6(key, 0) !== 0;
  const server = formatIp(isIpv6 ? bytes : bytes.subarray(0, 4));
  const port = key.getUint16(dnsKey.offsets.port);
  const peer = joinEndpoint(server, port);
  const name = nameAt(view, at);
  const qtype = typeName(dnsWaiting.type(view, at));
  const seconds = Number(time - start) * NANOSECONDS;
  const queries = dnsWaiting.copies(view, at);
  const [who, whom] = role === 'client' ? ['The DNS server', 'did not answer'] : ['The DNS client', 'got no answer to'];
  return {
    type: 'dns_unanswered',
    place: placeAt(view, at),
    body: {
      timeNs: start + clockOffset(),
      ...(role === 'client' ? { dst: peer } : { src: peer }),
      protocol: dnsKey.isTcp(key, 0) === 0 ? 'udp' : 'tcp',
      fields: { role, name, qtype, server, queries, seconds },
      message: `${who} ${peer} ${whom} a query for ${name} (${qtype}) within ${seconds.toFixed(1)} s.`,
    },
  };
}

function nameAt(view: DataView, at: number): string {
  const length = dnsWaiting.nameBytes(view, at);
  return nameText(dnsWaiting.name(view, at).subarray(0, length), length);
}

const WINDOW_MS = 10_000;
const PAUSE_MS = 60_000;
const NAMES_MAX = 10;
/** Maximum number of names that are remembered for a subject during a window. */
const REMEMBERED_MAX = 512;
const STORM_SHARE = 0.5;

/** Answers to the queries of a client since the probe was first opened. */
export interface Answered {
  readonly subject: NetnsId;
  readonly answers: readonly Counter[];
}

interface AnswerCounts {
  /** Answers with NXDOMAIN. */
  readonly missing: number;
  readonly all: number;
}

interface Window {
  readonly startMs: number;
  /** Counts at the start. */
  readonly counts: AnswerCounts;
  readonly names: Map<string, number>;
  readonly reportedMs: number;
}

/** Finds Pods for which most answers are NXDOMAIN. */
export class StormWatch {
  readonly #object: BpfObject;
  /** Number of NXDOMAIN answers in ten seconds. */
  threshold: number;
  readonly #subjectOf: (place: Place) => NetnsId;
  readonly #windows = new Map<NetnsId, Window>();
  /** Time of the last NXDOMAIN answer, or of the first look. */
  #lastMs: number;

  constructor(object: BpfObject, threshold: number, subjectOf: (place: Place) => NetnsId, nowMs: number) {
    this.#lastMs = nowMs;
    this.#object = object;
    this.threshold = threshold;
    this.#subjectOf = subjectOf;
  }

  /** @param read returns the answers of all clients; not called if there were no NXDOMAIN answers recently */
  async look(read: () => Promise<readonly Answered[]>, nowMs: number): Promise<DnsFinding[]> {
    const names = this.#takeNames();
    if (names.size > 0) this.#lastMs = nowMs;
    if (nowMs - this.#lastMs > WINDOW_MS) return [];
    const rows = await read();
    const subjects = new Set(rows.map(({ subject }) => subject));
    for (const subject of this.#windows.keys()) if (!subjects.has(subject)) this.#windows.delete(subject);
    return rows.flatMap(({ subject, answers }) => {
      const missing = Number(answers[dnsRcode.nxdomain] ?? 0);
      const all = Number(answers.reduce(addCounters, 0));
      return this.#lookAt(subject, { missing, all }, names.get(subject) ?? new Map(), nowMs);
    });
  }

  #lookAt(subject: NetnsId, counts: AnswerCounts, names: ReadonlyMap<string, number>, nowMs: number): DnsFinding[] {
    const begin = (reportedMs: number) =>
      this.#windows.set(subject, { startMs: nowMs, counts, names: new Map(), reportedMs });
    const window = this.#windows.get(subject);
    if (window === undefined) {
      begin(Number.NEGATIVE_INFINITY);
      return [];
    }
    for (const [name, count] of names) remember(window.names, name, count);
    const storm = { missing: counts.missing - window.counts.missing, all: counts.all - window.counts.all };
    const isStorm = storm.missing >= this.threshold && storm.missing >= storm.all * STORM_SHARE;
    if (!isStorm && nowMs - window.startMs < WINDOW_MS) return [];
    const isReported = isStorm && nowMs - window.reportedMs >= PAUSE_MS;
    begin(isReported ? nowMs : window.reportedMs);
    return isReported ? [stormOf(subject, storm, window, nowMs)] : [];
  }

  /** Returns the names of the last second by subject, and deletes them from the map. */
  #takeNames(): Map<NetnsId, Map<string, number>> {
    const map = this.#object.map(MISSING);
    const { count, view, keyAt, valueAt } = map.dump();
    const names = new Map<NetnsId, Map<string, number>>();
    const slots = new Set<number>();
    for (let index = 0; index < count; index++) {
      const at = valueAt(index);
      const subject = this.#subjectOf(placeAt(view, at));
      const ofSubject = names.get(subject) ?? new Map<string, number>();
      names.set(subject, ofSubject);
      remember(ofSubject, nameAt(view, at), dnsWaiting.copies(view, at));
      slots.add(dnsWaiting.slot(view, at));
      map.delete(new Uint8Array(view.buffer.slice(keyAt(index), keyAt(index) + dnsMissingKey.SIZE)));
    }
    for (const slot of slots) this.#object.map(MISSING_TAKEN).update(bytesOf(slot), bytesOf(0));
    return names;
  }
}

function remember(names: Map<string, number>, name: string, count: number): void {
  const before = names.get(name);
  if (before === undefined && names.size >= REMEMBERED_MAX) return;
  names.set(name, (before ?? 0) + count);
}

function stormOf(
  subject: NetnsId,
  { missing, all }: AnswerCounts,
  { names, startMs }: Window,
  nowMs: number,
): DnsFinding {
  const amplified = mostAmplified(names);
  // A window may be much older if no rows were read meanwhile, because no answer was NXDOMAIN.
  const seconds = Math.min(nowMs - startMs, WINDOW_MS) / 1_000;
  const most = [...names].sort(([, a], [, b]) => b - a).slice(0, NAMES_MAX);
  const asked = amplified === undefined ? '' : `; ${amplified.name} was asked for as ${amplified.askedAs} names`;
  return {
    type: 'dns_nxdomain_storm',
    place: { netns: subject, cgroup: 0 },
    body: {
      timeNs: now() + clockOffset(),
      fields: {
        answers: missing,
        share: missing / all,
        seconds,
        names: most.map(([name]) => name),
        ...(amplified === undefined ? {} : { amplified: amplified.name, askedAs: amplified.askedAs }),
      },
      message: `${missing} of ${all} DNS answers in ${seconds.toFixed(1)} s were NXDOMAIN${asked}.`,
    },
  };
}
