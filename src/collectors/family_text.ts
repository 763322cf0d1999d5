import { addCounters, type Counter } from '#core/counter.ts';
import type { Exemplar, HistogramValue, MetricDescriptor } from '#probe/metric.ts';
import type { ScraperView } from './births.ts';
import type { EntityTable } from './entities.ts';
import { type Format, formatBound, formatExemplar, renderHead } from './exposition.ts';
import type { Family } from './family.ts';
import { LineText, type Scratch } from './line_text.ts';
import type { SampleValue } from './sample.ts';
import { encode } from './text_writer.ts';

const COMMA = encode(',');
const OPEN = encode('{');
const CLOSE = encode('} ');
const SPACE = encode(' ');
const NOTHING = new Uint8Array();

/** Fixed parts of a line: the text before the labels of the entity, and the last label. */
interface LineForm {
  readonly name: Uint8Array;
  /** Rendered label such as `le="0.5"`. */
  readonly last: Uint8Array;
}

type VisitLine = (form: LineForm, value: Counter, exemplar: Exemplar | undefined) => void;

/**
 * Text of one metric in one format, which is reused for the next page. While the rows, their order and their labels
 * stay the same, only changed values are updated. Otherwise, the whole text is rewritten.
 */
export class FamilyText {
  readonly #descriptor: MetricDescriptor;
  readonly #text: LineText;
  readonly #head: Uint8Array;
  readonly #hasEntity: boolean;
  readonly #hasExemplars: boolean;
  /**
   * Forms of the lines of a histogram: its buckets in ascending order up to +Inf, the sum, and the count. Other metrics
   * have one form.
   */
  readonly #forms: readonly LineForm[];
  /**
   * State that the text was written from. It consists of the version of the entity labels, and of the slot, the labels,
   * the shown buckets and the exemplars of each row.
   */
  #labelsVersion = -1;
  readonly #slots: number[] = [];
  readonly #labels: (Uint8Array | undefined)[] = [];
  readonly #ranges: number[] = [];
  readonly #exemplars: HistogramValue['exemplars'][] = [];
  #row = 0;
  #isSame = true;

  constructor(descriptor: MetricDescriptor, format: Format, scratch: Scratch) {
    this.#descriptor = descriptor;
    this.#text = new LineText(scratch);
    this.#head = encode(renderHead(descriptor, format));
    this.#hasEntity = descriptor.scope !== 'agent';
    this.#hasExemplars = format === 'openmetrics';
    this.#forms = formsOf(descriptor, format);
  }

  /**
   * Returns the text of the family; empty if it has no rows.
   * @param view set if the text is for a scraper
   * @returns bytes that are valid until the next call
   */
  write(family: Family, entities: EntityTable, view?: ScraperView): Uint8Array {
    if (this.#labelsVersion !== entities.labelsVersion || !this.#follow(family, view)) {
      this.#labelsVersion = entities.labelsVersion;
      this.#rewrite(family, entities, view);
    }
    return this.#text.bytes;
  }

  /**
   * Updates the values.
   * @returns false if the rows have changed, in which case the text must be rewritten
   */
  #follow(family: Family, view: ScraperView | undefined): boolean {
    this.#row = 0;
    this.#isSame = true;
    this.#text.rewind();
    family.visit(this.#followRow, view);
    if (!this.#isSame || this.#row !== this.#slots.length) return false;
    this.#text.settle();
    return true;
  }

  readonly #followRow = (slot: number, labels: Uint8Array | undefined, value: SampleValue): void => {
    const row = this.#row++;
    if (!this.#isSame) return;
    if (slot !== this.#slots[row] || labels !== this.#labels[row] || this.#rangeOf(value) !== this.#ranges[row]) {
      this.#isSame = false;
    } else if (this.#exemplarsOf(value) !== this.#exemplars[row]) {
      this.#isSame = false;
    } else if (typeof value !== 'object') {
      this.#text.next(value);
    } else {
      this.#eachLine(value, this.#next);
    }
  };

  readonly #next = (_: LineForm, value: Counter): void => this.#text.next(value);

  #rewrite(family: Family, entities: EntityTable, view: ScraperView | undefined): void {
    this.#text.clear();
    this.#slots.length = 0;
    this.#labels.length = 0;
    this.#ranges.length = 0;
    this.#exemplars.length = 0;
    family.visit((slot, labels, value) => {
      if (this.#slots.length === 0) this.#text.append(this.#head);
      this.#slots.push(slot);
      this.#labels.push(labels);
      this.#ranges.push(this.#rangeOf(value));
      this.#exemplars.push(this.#exemplarsOf(value));
      const entity = this.#hasEntity ? entities.labelsOf(slot) : NOTHING;
      const append: VisitLine = (form, line, exemplar) =>
        this.#appendLine(form, entity, labels ?? NOTHING, line, exemplar);
      if (typeof value === 'object') this.#eachLine(value, append);
      else append(this.#forms[0] as LineForm, value, undefined);
    }, view);
  }

  #appendLine(
    { name, last }: LineForm,
    entity: Uint8Array,
    own: Uint8Array,
    value: Counter,
    exemplar: Exemplar | undefined,
  ): void {
    const text = this.#text;
    text.append(name);
    let separator = OPEN;
    for (const labels of [entity, own, last]) {
      if (labels.length === 0) continue;
      text.append(separator);
      text.append(labels);
      separator = COMMA;
    }
    text.append(separator === OPEN ? SPACE : CLOSE);
    text.appendValue(value, exemplar && encode(formatExemplar(exemplar)));
  }

  /** Encodes the range of shown buckets as one number. */
  #rangeOf(value: SampleValue): number {
    if (typeof value !== 'object' || value.shown === undefined) return ALL;
    return value.shown.first * RANGE_BASE + value.shown.last;
  }

  #exemplarsOf(value: SampleValue): HistogramValue['exemplars'] {
    return this.#hasExemplars && typeof value === 'object' ? value.exemplars : undefined;
  }

  #eachLine(value: HistogramValue, line: VisitLine): void {
    const { counts, sum, shown } = value;
    const exemplars = this.#exemplarsOf(value);
    const forms = this.#forms;
    const last = this.#descriptor.buckets?.length ?? 0;
    let cumulative: Counter = 0;
    for (let bucket = 0; bucket <= last; bucket++) {
      cumulative = addCounters(cumulative, counts[bucket] ?? 0);
      const isShown = shown === undefined || bucket === last || (bucket >= shown.first && bucket <= shown.last);
      if (isShown) line(forms[bucket] as LineForm, cumulative, exemplars?.[bucket]);
    }
    line(forms[last + 1] as LineForm, sum, undefined);
    line(forms[last + 2] as LineForm, cumulative, undefined);
  }
}

const ALL = -1;
const RANGE_BASE = 65_536;

function formsOf({ name, type, buckets = [] }: MetricDescriptor, format: Format): LineForm[] {
  if (type !== 'histogram') return [{ name: encode(name), last: NOTHING }];
  const bounds = [...buckets.map((bound) => formatBound(bound, format)), '+Inf'];
  return [
    ...bounds.map((bound) => ({ name: encode(`${name}_bucket`), last: encode(`le="${bound}"`) })),
    { name: encode(`${name}_sum`), last: NOTHING },
    { name: encode(`${name}_count`), last: NOTHING },
  ];
}
