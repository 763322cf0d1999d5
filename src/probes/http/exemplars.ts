import { type BpfObject, clockOffset } from 'bpf-napi';
import { httpExemplar, httpExemplarKey, httpResult, httpRole } from '#bpf/generated/common.ts';
import type { Layout } from '#bpf/generated/http.ts';
import { nameOf } from '#bpf/layout.ts';
import type { Counter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Exemplar } from '#probe/metric.ts';
import { readTraceId } from './trace_id.ts';

const EXEMPLARS: Layout['map'] = 'http_exemplars';
const TAKEN: Layout['map'] = 'http_exemplars_taken';
/** Maximum number of exemplars between two collections, summed over all owners. */
export const EXEMPLARS_MAX = 16_384;

const NANOSECONDS = 1e-9;
/** Bytes of a counter of {@link TAKEN}. */
const NONE = new Uint8Array(4);

type Role = keyof typeof httpRole;
/** Histograms of a role: requests by their status, and calls of gRPC. */
export type Result = keyof typeof httpResult;

/** Exemplars of a histogram, by the index of the bucket. */
type OfHistogram = readonly (Exemplar | undefined)[];

export interface ExemplarsOptions {
  /** Returns the subject of a place; undefined if it has none. */
  readonly subjectOf: (netns: NetnsId, cgroup: Counter) => NetnsId | undefined;
  /** Returns the index of the shown bucket that contains the durations of a bucket of the kernel. */
  readonly bucketOf: (kernelBucket: number) => number;
}

/**
 * The latest exemplar of each bucket. The kernel keeps the first request of each of its buckets after a read, and this
 * class reads and deletes them at each collection.
 */
export class Exemplars {
  readonly #object: BpfObject;
  readonly #options: ExemplarsOptions;
  readonly #latest = new Map<NetnsId, Map<string, OfHistogram>>();

  constructor(object: BpfObject, options: ExemplarsOptions) {
    this.#object = object;
    this.#options = options;
  }

  /** Takes the new exemplars from the kernel. */
  read(): void {
    const map = this.#object.map(EXEMPLARS);
    const { count, view, keyAt, valueAt } = map.dump();
    const offsetNs = clockOffset();
    const changed = new Set<OfHistogram>();
    for (let index = 0; index < count; index++) {
      const [key, value] = [keyAt(index), valueAt(index)];
      const timeNs = httpExemplar.time(view, value);
      // Another CPU is still writing it.
      if (timeNs === 0) continue;
      map.delete(new Uint8Array(view.buffer, view.byteOffset + key, httpExemplarKey.SIZE));
      const traceId = readTraceId(view, value + httpExemplar.offsets.trace);
      const subject = this.#options.subjectOf(
        asNetnsId(httpExemplarKey.netns(view, key)),
        httpExemplarKey.cgroup(view, key),
      );
      if (traceId === undefined || subject === undefined) continue;
      const role = nameOf(httpRole, httpExemplarKey.role(view, key)) ?? 'client';
      const result = nameOf(httpResult, httpExemplarKey.result(view, key)) ?? 'ok';
      const exemplars = this.#changing(changed, subject, `${role} ${result}`);
      const bucket = this.#options.bucketOf(httpExemplarKey.bucket(view, key));
      const time = Number(BigInt(timeNs) + offsetNs) * NANOSECONDS;
      // Several buckets of the kernel are one on the page.
      if (time > (exemplars[bucket]?.time ?? 0)) {
        exemplars[bucket] = { traceId, value: Number(httpExemplar.duration(view, value)) * NANOSECONDS, time };
      }
    }
    if (count > 0) this.#freeAll();
  }

  /** Returns the exemplars of a histogram; undefined if there are none. The array changes only if they do. */
  of(subject: NetnsId, role: Role, result: Result): OfHistogram | undefined {
    return this.#latest.get(subject)?.get(`${role} ${result}`);
  }

  /** Forgets the exemplars of subjects that have gone. */
  forget(isGone: (subject: NetnsId) => boolean): void {
    for (const subject of this.#latest.keys()) if (isGone(subject)) this.#latest.delete(subject);
  }

  /** Returns the exemplars of a histogram in an array that is new in this read. */
  #changing(changed: Set<OfHistogram>, subject: NetnsId, histogram: string): (Exemplar | undefined)[] {
    const ofSubject = this.#latest.get(subject) ?? new Map<string, OfHistogram>();
    this.#latest.set(subject, ofSubject);
    const before = ofSubject.get(histogram) ?? [];
    if (changed.has(before)) return before as (Exemplar | undefined)[];
    const exemplars = [...before];
    changed.add(exemplars);
    ofSubject.set(histogram, exemplars);
    return exemplars;
  }

  /** Makes room for the next exemplars of all owners. */
  #freeAll(): void {
    const taken = this.#object.map(TAKEN);
    const { count, view, keyAt, valueAt } = taken.dump();
    for (let index = 0; index < count; index++) {
      if (view.getUint32(valueAt(index), true) === 0) continue;
      taken.update(new Uint8Array(view.buffer, view.byteOffset + keyAt(index), NONE.length), NONE);
    }
  }
}
