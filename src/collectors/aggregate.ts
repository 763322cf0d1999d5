import { isDeepStrictEqual } from 'node:util';
import { addCounters, type Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { type PrivacyRules, ruleOf } from '#core/privacy.ts';
import type { FieldChoice } from '#probe/fields.ts';
import {
  type Detail,
  type Emit,
  type EmitOptions,
  isJoint,
  isOpen,
  type JointBound,
  type LooseEmit,
  type LooseRowReader,
  type MetricDescriptor,
  type MetricSet,
  NODE,
} from '#probe/metric.ts';
import type { CountsFromZero, ScraperView } from './births.ts';
import { createFamily as createRows } from './create_family.ts';
import { Edges } from './edges.ts';
import { EntityTable, NODE_SLOT } from './entities.ts';
import type { Format } from './exposition.ts';
import type { Family } from './family.ts';
import { HiddenPeers } from './hidden_peers.ts';
import { Holds } from './holds.ts';
import { JointFamily } from './joint_family.ts';
import { PageText } from './page_text.ts';
import type { SampleLabels, SampleValue } from './sample.ts';
import { SeriesLimit } from './series_limit.ts';
import { NOBODY, SubjectSlots, UNKNOWN } from './subject_slots.ts';
import type { TextWriter } from './text_writer.ts';

/** Receives the samples of one probe in one collection. */
export interface Batch {
  readonly emit: Emit<MetricSet>;
  /** Makes the emitted samples visible on the page. */
  commit(): void;
  /** Drops all samples, including samples that are emitted later, because the probe is late or has failed. */
  discard(): void;
}

/** State of a probe that has been enabled. Times are in milliseconds on the clock of the aggregator. */
interface Watch {
  readonly sinceMs: number;
  /** Whether the probe counts in its own BPF programs, so that new rows start from zero. */
  readonly isOwn: boolean;
  committedMs: number | undefined;
  /** Keys of metrics that were not collected before, although the probe may have counted them. */
  readonly late: Set<string>;
  /**
   * Whether the rows of the probe are missing from the page, because the probe was disabled or its last collection
   * failed.
   */
  isAway: boolean;
}

/**
 * Assigns samples to the entities that own their namespaces. Samples of namespaces without a known owner are counted
 * and dropped.
 */
export class Aggregator {
  readonly entities: EntityTable;
  readonly #isIgnored: (id: NetnsId) => boolean;
  /**
   * Metric families by probe, in the order of the page. They are kept while a probe is disabled, so that totals under
   * `*` cannot decrease.
   */
  readonly #families: ReadonlyMap<string, Map<string, Family>>;
  /** Edges of the metrics that share a joint bound, by probe and by bound. */
  readonly #edges = new Map<string, Map<JointBound, Edges>>();
  readonly #nowMs: () => number;
  readonly limit = new SeriesLimit();
  /** Decides which peers the rules of `privacy` hide. */
  readonly hidden = new HiddenPeers();
  /** Cached slots of subjects, by probe. */
  readonly #slots = new Map<string, SubjectSlots>();
  /** State of each probe that has been enabled, by name. */
  readonly #watches = new Map<string, Watch>();
  readonly #holds = new Holds();
  #scraped: ScraperView | undefined;
  readonly #page: PageText;
  readonly #createRows: typeof createRows;
  /** Keys of the metrics that are collected, by probe. */
  readonly #wanted = new Map<string, ReadonlySet<string>>();
  /** Series that the configuration selects, for probes with a list of `fields`. */
  readonly #choices = new Map<string, FieldChoice>();
  readonly unattributed = new Map<string, number>();
  /** Number of samples that were collapsed into `*`. The key consists of the metric and the label, separated by NUL. */
  readonly overflows = new Map<string, number>();

  /**
   * @param probes names of the probes, in the order of the page
   * @param isIgnored whether a namespace without an entity is known to have no owner, so that its samples do not count
   * as unattributed
   * @param nowMs returns the time of a monotonic clock in milliseconds
   * @param isNew whether a namespace was created recently and after the first scan
   * @param createFamily creates the family of a metric without joint labels
   */
  constructor(
    probes: readonly string[],
    isIgnored: (id: NetnsId) => boolean,
    nowMs: () => number = () => performance.now(),
    isNew: (id: NetnsId) => boolean = () => false,
    createFamily: typeof createRows = createRows,
  ) {
    this.#createRows = createFamily;
    this.#nowMs = nowMs;
    this.#families = new Map(probes.map((probe) => [probe, new Map()]));
    this.#isIgnored = isIgnored;
    this.entities = new EntityTable({
      freed: (slot) => {
        this.#holds.delete(slot);
        for (const family of this.families()) family.forget(slot);
      },
      retired: (slot) => {
        for (const family of this.families()) family.retire(slot);
      },
      renamed: (slot) => {
        const nowMs = this.#nowMs();
        this.#holds.restart(nowMs, slot);
        for (const family of this.families()) family.renamed(slot, nowMs);
      },
      isNew,
      nowMs,
    });
    this.#page = new PageText(this.entities);
  }

  get privacy(): PrivacyRules {
    return this.hidden.rules;
  }

  /** Rules for exemplars and for labels that describe peers. A change resets the series of all edges. */
  set privacy(rules: PrivacyRules) {
    if (isDeepStrictEqual(rules, this.hidden.rules)) return;
    this.hidden.rules = rules;
    for (const bounds of this.#edges.values()) for (const edges of bounds.values()) edges.reset();
  }

  /**
   * Adds a probe. Metrics above the configured level of detail are not collected.
   * @param isOwn whether the probe itself counts from zero; otherwise, it reads kernel counters, which may already be
   * greater than zero
   * @param fields the only series to collect, regardless of the detail
   */
  addProbe(probe: string, metrics: MetricSet, detail: Detail, isOwn = false, fields?: FieldChoice): void {
    this.removeProbe(probe);
    this.#watches.set(probe, {
      sinceMs: this.#nowMs(),
      isOwn,
      committedMs: undefined,
      late: new Set(),
      isAway: true,
    });
    this.#choose(probe, metrics, detail, fields);
  }

  /** Changes what a page shows of a probe, as `addProbe` sets it. Series that remain are not interrupted. */
  changeProbe(probe: string, metrics: MetricSet, detail: Detail, fields?: FieldChoice): void {
    const before = this.#wanted.get(probe);
    const hadFields = this.#choices.delete(probe);
    const wanted = this.#choose(probe, metrics, detail, fields);
    for (const [key, family] of this.#familiesOf(probe)) if (!wanted.has(key)) family.stop();
    const { late } = this.#watches.get(probe) ?? {};
    // With other `fields`, a metric may show rows that it has not shown before.
    const isLate = (key: string) => hadFields || fields !== undefined || before?.has(key) !== true;
    for (const key of wanted) if (isLate(key)) late?.add(key);
  }

  #choose(probe: string, metrics: MetricSet, detail: Detail, fields: FieldChoice | undefined): ReadonlySet<string> {
    const families = this.#familiesOf(probe);
    const wanted = new Set<string>();
    for (const [key, metric] of Object.entries(metrics)) {
      const isWanted = fields === undefined ? detail === 'full' || metric.detail === 'core' : fields.has(key);
      if (!isWanted) continue;
      wanted.add(key);
      if (!families.has(key)) families.set(key, this.#createFamily(probe, key, metrics));
    }
    for (const edges of this.#edges.get(probe)?.values() ?? []) edges.detail = detail;
    this.#wanted.set(probe, wanted);
    if (fields !== undefined) this.#choices.set(probe, fields);
    return wanted;
  }

  /** Hides the metrics of a probe. */
  removeProbe(probe: string): void {
    this.#wanted.delete(probe);
    this.#choices.delete(probe);
    for (const family of this.#familiesOf(probe).values()) family.stop();
  }

  /**
   * Starts a collection of a probe.
   * @param isShown whether samples of a namespace are accepted. If set, samples of the node are dropped. If undefined,
   * all samples are accepted.
   */
  begin(probe: string, isShown?: (id: NetnsId) => boolean): Batch {
    const wanted = this.#wanted.get(probe) ?? new Set();
    const families = new Map([...this.#familiesOf(probe)].filter(([key]) => wanted.has(key)));
    for (const family of families.values()) family.begin();
    const bounds = this.#edges.get(probe);
    const only = bounds === undefined || isShown === undefined ? undefined : this.#slotsOf(isShown);
    for (const edges of bounds?.values() ?? []) edges.begin(only);
    const choice = this.#choices.get(probe);
    let isOpen = true;
    const slotOf = (subject: NetnsId | typeof NODE): number => {
      if (isShown !== undefined && (subject === NODE || !isShown(subject))) return NOBODY;
      return subject === NODE ? NODE_SLOT : this.#slotOf(subject);
    };
    const slots = this.#subjectSlots(probe, slotOf);
    const put = (
      metric: string,
      subject: NetnsId | typeof NODE,
      value: SampleValue,
      labels: SampleLabels,
      options?: EmitOptions,
    ): void => {
      const family = families.get(metric);
      if (!isOpen || family === undefined || choice?.takes(metric, labels) === false) return;
      if (family.descriptor.showsPeers === true && this.hidden.hides(this.#namespaceOf(subject), '')) return;
      const slot = slotOf(subject);
      if (slot >= 0) family.put(slot, this.#shown(subject, value), labels, options);
      else if (slot === UNKNOWN) this.#countUnknown(probe);
    };
    const column = (
      metric: string,
      subjects: readonly NetnsId[],
      labels: SampleLabels,
      read: (row: number) => SampleValue | undefined,
    ): void => {
      const family = families.get(metric);
      if (!isOpen || family === undefined || choice?.takes(metric, labels) === false) return;
      const places = slots.of(subjects);
      const putValue = family.column(labels);
      for (let row = 0; row < subjects.length; row++) {
        const slot = places[row] as number;
        if (slot === NOBODY) continue;
        const value = read(row);
        if (value === undefined) continue;
        if (slot === UNKNOWN) this.#countUnknown(probe);
        else putValue(slot, value);
      }
    };
    const rows = <Row>(bound: JointBound, given: Iterable<Row>, reader: LooseRowReader<Row>): void => {
      if (!isOpen) return;
      const edges = bounds?.get(bound);
      if (edges === undefined) throw new Error(`no metric of ${probe} has labels of this bound`);
      const takenAt = (row: Row) => {
        const slot = slotOf(reader.subject(row));
        if (slot === UNKNOWN) this.#countUnknown(probe);
        return slot < 0 ? undefined : slot;
      };
      const labelsOf = (row: Row) =>
        this.hidden.labelsOf(
          this.#namespaceOf(reader.subject(row)),
          reader.peerNamespace?.(row) ?? '',
          reader.labels(row),
        );
      edges.take(given, reader, takenAt, labelsOf);
    };
    const emit: LooseEmit = Object.assign(put, { column, rows, wants: (metric: string) => families.has(metric) });
    const end = (commit: boolean) => {
      if (!isOpen) return;
      isOpen = false;
      if (commit) this.#commit(probe, families);
      else this.#discard(probe, families.values());
    };
    return { emit: emit as Emit<MetricSet>, commit: () => end(true), discard: () => end(false) };
  }

  /**
   * Folds series until the page is within the series limit. Must be called after all probes have been collected. The
   * agent's own series do not count toward the limit.
   */
  fit(): void {
    const families = [...this.families()].filter(({ descriptor }) => descriptor.scope !== 'agent');
    this.limit.fit(families, this.#nowMs());
  }

  /**
   * Renders all families, and yields to the event loop between them.
   * @param view set if the page is for a scraper, which must see new rows at 0 first
   */
  async render(writer: TextWriter, format: Format, cycle: Cycle, view?: ScraperView): Promise<void> {
    this.#scraped = view ?? this.#scraped;
    this.#page.begin(format);
    for (const family of this.families()) {
      writer.bytes(this.#page.write(family, format, view));
      if (cycle.isDue) await cycle.pause();
    }
  }

  /**
   * Whether the rows of a namespace must stay on the page, because a scraper may not have seen all of its counts yet.
   */
  isHeld(id: NetnsId): boolean {
    const slot = this.entities.attribute(id);
    if (typeof slot !== 'number' || this.#scraped === undefined) return false;
    return this.#holds.isHeld(slot, this.#nowMs(), this.#scraped);
  }

  /**
   * Sums a metric over all of its labels. The metric must not be a histogram. Returns the sums by slot, or undefined if
   * the last collection has no values.
   */
  sums(metric: MetricDescriptor): ReadonlyMap<number, Counter> | undefined {
    for (const family of this.families()) {
      if (family.descriptor !== metric) continue;
      if (!family.isShown) return undefined;
      const sums = new Map<number, Counter>();
      family.visit((slot, _, value) => sums.set(slot, addCounters(sums.get(slot) ?? 0, value as Counter)));
      return sums;
    }
    return undefined;
  }

  /** Returns the namespace of a subject; null if it is unknown. */
  #namespaceOf(subject: NetnsId | typeof NODE): string | null {
    return subject === NODE ? '' : (this.entities.find(subject)?.namespace ?? null);
  }

  /** Returns the value without the exemplars of a namespace whose traces are not shown. */
  #shown(subject: NetnsId | typeof NODE, value: SampleValue): SampleValue {
    if (typeof value !== 'object' || value.exemplars === undefined) return value;
    return ruleOf(this.privacy, [this.#namespaceOf(subject)]).traces ? value : { ...value, exemplars: undefined };
  }

  #commit(probe: string, families: ReadonlyMap<string, Family>): void {
    const nowMs = this.#nowMs();
    const wanted = this.#wanted.get(probe);
    for (const edges of this.#edges.get(probe)?.values() ?? []) edges.commit(nowMs);
    // The metrics may have changed during the collection.
    for (const [key, family] of families) if (wanted?.has(key) === true) family.commit(nowMs);
    const watch = this.#watches.get(probe);
    if (watch === undefined) return;
    for (const key of families.keys()) watch.late.delete(key);
    if (watch.isAway) this.#holds.restart(nowMs);
    watch.isAway = false;
    watch.committedMs = nowMs;
  }

  #discard(probe: string, families: Iterable<Family>): void {
    for (const family of families) family.clear();
    const watch = this.#watches.get(probe);
    if (watch !== undefined) watch.isAway = true;
  }

  #slotOf(id: NetnsId): number {
    const attribution = this.entities.attribute(id);
    if (typeof attribution === 'number') return attribution;
    // Counts of a destroyed namespace stay in kernel maps until the next sweep. They must not count as unattributed.
    return attribution === 'unknown' && !this.#isIgnored(id) ? UNKNOWN : NOBODY;
  }

  /** Returns the slots of the entities that a Pod filter includes. */
  #slotsOf(isShown: (id: NetnsId) => boolean): Set<number> {
    const included = this.entities.shown().filter(({ entity }) => isShown(entity.netns));
    return new Set(included.map(({ slot }) => slot));
  }

  #subjectSlots(probe: string, slotOf: (subject: NetnsId) => number): SubjectSlots {
    let slots = this.#slots.get(probe);
    if (slots === undefined) {
      slots = new SubjectSlots(this.entities);
      this.#slots.set(probe, slots);
    }
    slots.begin(slotOf);
    return slots;
  }

  #countUnknown(probe: string): void {
    this.unattributed.set(probe, (this.unattributed.get(probe) ?? 0) + 1);
  }

  #familiesOf(probe: string): Map<string, Family> {
    const families = this.#families.get(probe);
    if (families === undefined) throw new Error(`no probe ${probe}`);
    return families;
  }

  #createFamily(probe: string, key: string, metrics: MetricSet): Family {
    const metric = metrics[key] as MetricDescriptor;
    const joint = Object.values(metric.labels).find(isJoint)?.joint;
    if (joint !== undefined) return new JointFamily(key, metric, this.#edgesOf(probe, joint, metrics));
    const fromZero = this.#fromZero(probe, metric);
    const isLate = () => this.#watches.get(probe)?.late.has(key) === true;
    return this.#createRows(
      metric,
      (label) => this.#overflowed(metric, label),
      (slot) => !isLate() && fromZero(slot),
    );
  }

  #edgesOf(probe: string, bound: JointBound, metrics: MetricSet): Edges {
    let bounds = this.#edges.get(probe);
    if (bounds === undefined) {
      bounds = new Map();
      this.#edges.set(probe, bounds);
    }
    let edges = bounds.get(bound);
    if (edges === undefined) {
      const ranking = metrics[bound.rank[0] ?? ''] as MetricDescriptor;
      const made: Edges = new Edges(
        metrics,
        bound,
        (metric) => this.#wanted.get(probe)?.has(metric) === true,
        () => this.#overflowed(ranking, made.layout.names.join()),
        this.#fromZero(probe, ranking),
      );
      edges = made;
      bounds.set(bound, edges);
    }
    return edges;
  }

  /**
   * Returns the callback for new rows of a metric. The callback returns whether a row counts from zero and, if it does,
   * starts the hold of the entity.
   */
  #fromZero(probe: string, metric: MetricDescriptor): CountsFromZero {
    const labels = Object.values(metric.labels);
    const isOpenHere = labels.some(isOpen) && metric.scope === 'pod';
    const moves = labels.some((label) => isOpen(label) && label.moves === true);
    return (slot) => {
      const watch = this.#watches.get(probe);
      if (watch === undefined) return false;
      const { atMs, isNew } = this.entities.arrivalOf(slot);
      const isOurs = watch.isOwn || metric.scope === 'agent';
      const isSeenBorn = isNew && atMs > watch.sinceMs;
      const isAdded = isOpenHere && watch.committedMs !== undefined && watch.committedMs > atMs;
      if (!isOurs && (moves || !(isSeenBorn || isAdded))) return false;
      this.#holds.add(slot, this.#nowMs());
      return true;
    };
  }

  #overflowed(metric: MetricDescriptor, label: string): void {
    const key = `${metric.name}\0${label}`;
    this.overflows.set(key, (this.overflows.get(key) ?? 0) + 1);
  }

  /** Yields the families in the order of the page. */
  *families(): Generator<Family> {
    for (const families of this.#families.values()) yield* families.values();
  }
}
