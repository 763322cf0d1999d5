export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: string;
}

export interface Exposition {
  readonly samples: readonly Sample[];
  /** Samples by name. */
  readonly named: ReadonlyMap<string, readonly Sample[]>;
  readonly types: ReadonlyMap<string, string>;
  readonly help: ReadonlyMap<string, string>;
}

interface Series {
  readonly text: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

const META = /^# (HELP|TYPE|UNIT|EOF)(?: (\S+) ?(.*))?$/;
const VALUE = /^\S+$/;
const SERIES = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$/;
/** An exemplar of OpenMetrics, which follows the value. Quotes in a label's value are escaped, so none contains this. */
const EXEMPLAR = / # \{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\["\\n])*",?)*\} \S+(?: \S+)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/y;

/** Parses a page in either text format, without its exemplars. @throws for a malformed line */
export function parseExposition(text: string): Exposition {
  return new ExpositionParser().parse(text);
}

/**
 * Parses consecutive pages of one agent. Nearly all series of a page were on the previous page in the same order, so
 * the parser reuses the series that it has parsed before. Parsing each page from scratch took more CPU time than the
 * agent itself.
 */
export class ExpositionParser {
  #before: readonly Series[] = [];

  /** Parses a page. @throws for a malformed line */
  parse(text: string): Exposition {
    const samples: Sample[] = [];
    const named = new Map<string, Sample[]>();
    const types = new Map<string, string>();
    const help = new Map<string, string>();
    const known = new KnownSeries(this.#before);
    const all: Series[] = [];
    let ofName: Sample[] = [];
    for (const full of text.split('\n')) {
      const line = full.includes(' # {') ? full.replace(EXEMPLAR, '') : full;
      const meta = line.startsWith('#') ? META.exec(line) : null;
      if (meta !== null) {
        if (meta[1] === 'TYPE') types.set(meta[2] ?? '', meta[3] ?? '');
        if (meta[1] === 'HELP') help.set(meta[2] ?? '', meta[3] ?? '');
      } else if (line !== '') {
        const space = line.lastIndexOf(' ');
        const value = line.slice(space + 1);
        if (space < 1 || !VALUE.test(value)) throw new Error(`malformed sample: ${line}`);
        const series = known.find(line, space) ?? parseSeries(line.slice(0, space));
        all.push(series);
        const sample = { name: series.name, labels: series.labels, value };
        samples.push(sample);
        if (ofName[0]?.name !== sample.name) {
          ofName = named.get(sample.name) ?? [];
          named.set(sample.name, ofName);
        }
        ofName.push(sample);
      }
    }
    this.#before = all;
    return { samples, named, types, help };
  }
}

/** The series of a page. Callers usually request them in order, in which case no lookup is needed. */
class KnownSeries {
  readonly #series: readonly Series[];
  #next = 0;
  #places: ReadonlyMap<string, number> | undefined;

  constructor(series: readonly Series[]) {
    this.#series = series;
  }

  find(line: string, end: number): Series | undefined {
    const next = this.#series[this.#next];
    if (next?.text.length !== end || !line.startsWith(next.text)) {
      this.#places ??= new Map(this.#series.map(({ text }, place) => [text, place]));
      const place = this.#places.get(line.slice(0, end));
      if (place === undefined) return undefined;
      this.#next = place;
    }
    return this.#series[this.#next++];
  }
}

function parseSeries(text: string): Series {
  const found = SERIES.exec(text);
  if (found === null) throw new Error(`no series: ${text}`);
  const [, name = '', labelText] = found;
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (labelText !== undefined && LABEL.lastIndex < labelText.length) {
    const label = LABEL.exec(labelText);
    if (label === null) throw new Error(`no labels: ${text}`);
    const value = label[2] ?? '';
    labels[label[1] ?? ''] = value.includes('\\')
      ? value.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char))
      : value;
  }
  return { text, name, labels };
}

/** Returns the value of the only sample with this name and all of these labels; undefined if there is none. */
export function sampleValue(
  page: Exposition,
  name: string,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  const wanted = Object.entries(labels);
  const found = (page.named.get(name) ?? []).filter((sample) =>
    wanted.every(([key, value]) => sample.labels[key] === value),
  );
  if (found.length > 1) throw new Error(`${found.length} samples of ${name} with ${JSON.stringify(labels)}`);
  return found[0] === undefined ? undefined : Number(found[0].value);
}
