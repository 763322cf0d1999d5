import type { BpfObject } from 'bpf-napi';
import { ownerSlot, placeKey } from '#bpf/generated/common.ts';
import { addCounters, type Counter, readCounter, subtractCounters } from '#core/counter.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import { type Fate, fateOf } from './fate.ts';
import type { HostPods } from './host_pods.ts';
import type { Owners } from './owners.ts';
import { defineRetained, type Retained } from './retained.ts';
import type { NotShown, Uncounted } from './status.ts';
import { readMisses, slotOfRest, type Tally } from './tally.ts';

/** Totals of a subject for one value of `detail`. */
export interface PlaceRow {
  readonly subject: NetnsId;
  /** Value that the program has chosen, such as a role. */
  readonly detail: Counter;
  /** Totals in the order of the words in the program's struct. They never decrease. */
  readonly words: readonly Counter[];
}

interface Totals {
  readonly rows: Map<string, PlaceRow>;
  departed: Counter;
  uncounted: Uncounted;
}

/** Totals of all runs of a probe. */
export const PLACE_ROWS = defineRetained<Totals>(() => ({ rows: new Map(), departed: 0, uncounted: {} }));

export interface PlaceRowsOptions {
  /** Name of the map, which `PLACE_ROWS` in src/bpf/common/place_rows.bpf.h defines. */
  readonly map: string;
  readonly owners: Owners;
  readonly hostPods: Pick<HostPods, 'find' | 'subjectOf'>;
  readonly earlier: Retained<Totals>;
  /** Returns the number of occurrences in a row, for the counts that are not shown. */
  readonly countOf: (words: readonly Counter[]) => Counter;
}

/** A row in the kernel. */
interface Held {
  readonly netns: NetnsId;
  readonly cgroup: Counter;
  readonly detail: Counter;
  words: readonly Counter[];
  /** Part of the words that has been added to the totals of a subject. */
  taken: readonly Counter[];
  /** Bytes from which the words were read. */
  readonly bytes: Buffer;
}

/**
 * Totals of the rows of a map by subject: a Pod, the node or a Pod with hostNetwork. Each increase of a row is added to
 * the subject that the row has at the time, so totals remain where they are if a namespace gets another owner.
 */
export class PlaceRows implements Tally {
  readonly map: string;
  protected readonly object: BpfObject;
  readonly #options: PlaceRowsOptions;
  /** Rows by key. Each character stands for one byte of the key. */
  readonly #held = new Map<string, Held>();
  /** Cgroups whose Pods have been looked up. The rows of other cgroups are not shown yet. */
  #found: ReadonlySet<Counter> = new Set();
  #waiting: Counter = 0;

  constructor(object: BpfObject, options: PlaceRowsOptions) {
    this.map = options.map;
    this.object = object;
    this.#options = options;
  }

  /** Looks up the Pods of the rows in the node's namespace. Must be awaited before `rows` is called. */
  async find(): Promise<void> {
    this.#read();
    const cgroups = new Set([...this.#held.values()].map(({ cgroup }) => cgroup).filter((cgroup) => cgroup !== 0));
    await this.#options.hostPods.find(cgroups);
    this.#found = cgroups;
  }

  rows(): readonly PlaceRow[] {
    this.#read();
    this.#waiting = 0;
    for (const row of this.#held.values()) {
      if (this.#settle(row)) continue;
      this.#waiting = addCounters(this.#waiting, this.#options.countOf(minus(row.words, row.taken)));
    }
    return [...this.#totals.rows.values()];
  }

  uncounted(): Uncounted {
    return readMisses(this.object, this.#totals.uncounted);
  }

  notShown(): NotShown {
    return { departed: this.#totals.departed, waiting: this.#waiting };
  }

  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number> {
    this.#read();
    const left = new Map<NetnsId, number>();
    for (const [key, row] of this.#held) {
      if (slotOfRest(row.netns) !== undefined) continue;
      const pod = row.cgroup === 0 ? undefined : this.#options.hostPods.subjectOf(row.cgroup);
      const isGone = isDead(row.netns) || (pod !== undefined && this.#options.owners.hasDeparted(pod));
      if (isGone) this.#end(key, row);
      else left.set(row.netns, (left.get(row.netns) ?? 0) + 1);
    }
    this.#forget((id) => id !== UNLISTED && (isDead(id) || this.#options.owners.hasDeparted(id)));
    return left;
  }

  freed(slot: number): void {
    this.#read();
    for (const [key, row] of this.#held) {
      if (slotOfRest(row.netns) !== slot) continue;
      this.#depart(minus(row.words, row.taken));
      this.#delete(key);
    }
  }

  remember(): void {
    this.#read();
    for (const row of this.#held.values()) if (!this.#settle(row)) this.#take(row, this.#lastSubject(row));
    this.#totals.uncounted = this.uncounted();
    this.#held.clear();
  }

  get #totals(): Totals {
    return this.#options.earlier.value;
  }

  #read(): void {
    const map = this.object.map(this.map);
    const { count, view, keyAt, valueAt } = map.dump();
    for (let index = 0; index < count; index++) {
      const at = keyAt(index);
      const key = Buffer.from(view.buffer, view.byteOffset + at, placeKey.SIZE).toString('latin1');
      const bytes = Buffer.from(view.buffer, view.byteOffset + valueAt(index), map.valueBytes);
      const held = this.#held.get(key);
      // Most rows have not changed, and comparing their bytes takes a tenth of the time of reading their words.
      if (held?.bytes.equals(bytes)) continue;
      const words = readWords(view, valueAt(index), map.valueBytes);
      if (held !== undefined) {
        held.words = words;
        bytes.copy(held.bytes);
        continue;
      }
      this.#held.set(key, {
        netns: asNetnsId(placeKey.netns(view, at)),
        cgroup: placeKey.cgroup(view, at),
        detail: placeKey.detail(view, at),
        words,
        taken: words.map(() => 0),
        bytes: Buffer.from(bytes),
      });
    }
  }

  /** Adds the increase of a row to the totals. Returns false if its subject is not known yet. */
  #settle(row: Held): boolean {
    if (row.taken === row.words) return true;
    const fate = this.#fateOf(row);
    if (fate === 'waiting') return false;
    if (fate === 'departed') this.#depart(minus(row.words, row.taken));
    else this.#take(row, fate);
    row.taken = row.words;
    return true;
  }

  #take({ detail, words, taken }: Held, subject: NetnsId): void {
    const more = minus(words, taken);
    if (more.every((word) => word === 0)) return;
    const key = `${subject}/${detail}`;
    const before = this.#totals.rows.get(key);
    this.#totals.rows.set(key, {
      subject,
      detail,
      words: before === undefined ? more : more.map((word, index) => addCounters(before.words[index] ?? 0, word)),
    });
  }

  #fateOf({ netns, cgroup }: Held): Fate {
    const { owners, hostPods } = this.#options;
    const slot = slotOfRest(netns);
    if (slot !== undefined) return slot < ownerSlot.first ? UNLISTED : (owners.ownerOf(slot)?.home ?? 'departed');
    if (cgroup !== 0 && !this.#found.has(cgroup)) return 'waiting';
    const pod = cgroup === 0 ? undefined : hostPods.subjectOf(cgroup);
    if (pod === undefined) return fateOf(owners, netns);
    return owners.hasDeparted(pod) ? 'departed' : pod;
  }

  /** Returns the subject of a row whose owner was not found: the node in its own namespace, and otherwise none. */
  #lastSubject({ netns, cgroup }: Held): NetnsId {
    return cgroup === 0 ? UNLISTED : netns;
  }

  #end(key: string, row: Held): void {
    if (!this.#settle(row)) this.#take(row, this.#lastSubject(row));
    this.#delete(key);
  }

  #delete(key: string): void {
    this.object.map(this.map).delete(Uint8Array.from(key, (character) => character.charCodeAt(0)));
    this.#held.delete(key);
  }

  #forget(isGone: (id: NetnsId) => boolean): void {
    for (const [key, { subject, words }] of this.#totals.rows) {
      if (!isGone(subject)) continue;
      this.#totals.rows.delete(key);
      this.#depart(words);
    }
  }

  #depart(words: readonly Counter[]): void {
    this.#totals.departed = addCounters(this.#totals.departed, this.#options.countOf(words));
  }
}

function readWords(view: DataView, at: number, bytes: number): Counter[] {
  return Array.from({ length: bytes / 8 }, (_, index) => readCounter(view, at + index * 8));
}

function minus(a: readonly Counter[], b: readonly Counter[]): readonly Counter[] {
  return a.map((word, index) => subtractCounters(word, b[index] ?? 0));
}
