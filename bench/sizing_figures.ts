import { readFileSync, writeFileSync } from 'node:fs';

/** Results of `npm run bench -- sizing series`; docs/scale.md is computed from them. */

const FILE = new URL('./sizing.json', import.meta.url);

export function readFigures(): SizingFigures {
  return JSON.parse(readFileSync(FILE, 'utf8')) as SizingFigures;
}

/** Replaces some of the figures if UPDATE_FIGURES=1 is set. */
export function updateFigures(figures: Partial<SizingFigures>): void {
  if (process.env['UPDATE_FIGURES'] !== '1') return;
  writeFileSync(FILE, `${JSON.stringify({ ...readFigures(), ...figures }, null, 2)}\n`);
}

/** Numbers of series of one probe on a page. */
export interface SeriesCount {
  /** Median number of series of a Pod. */
  readonly pod: number;
  /** 95th percentile of it. */
  readonly p95: number;
  readonly mean: number;
  /** Number of series of the node. */
  readonly node: number;
}

/** Numbers of series of a Pod over all probes. */
export interface PodSeries {
  readonly p50: number;
  readonly p95: number;
  readonly mean: number;
}

export interface PrometheusFigures {
  readonly series: number;
  readonly samples: number;
  /** Increase of the resident memory since before the first scrape, divided by the number of series. */
  readonly memoryBytesASeries: number;
  readonly headChunksASeries: number;
  readonly cpuMicrosecondsASample: number;
  /**
   * Size of all files of a block, divided by its number of samples. The block holds as many samples per series as two
   * hours at an interval of 30 s.
   */
  readonly diskBytesASample: number;
  readonly chunkBytesASample: number;
  readonly walBytesASample: number;
}

export interface PageFigures {
  readonly samples: number;
  readonly bytes: number;
  readonly gzipBytes: number;
}

export interface EventFigures {
  readonly events: number;
  /** Size of the log line. */
  readonly lineBytes: number;
  /** Size of the structured metadata, as Loki counts it. */
  readonly metadataBytes: number;
  /** Size of a push request divided by its number of events. */
  readonly pushBytes: number;
  readonly gzipBytes: number;
  readonly gzipBytesAlone: number;
}

export interface SizingFigures {
  readonly measured: {
    readonly date: string;
    readonly kernel: string;
    readonly cpus: number;
    readonly prometheus: string;
    readonly pods: number;
    readonly scrapes: number;
    /** Memory of a Prometheus server without data. */
    readonly idleBytes: number;
  };
  /** When and where the series were counted. */
  readonly counted: { readonly date: string; readonly kernel: string; readonly pods: number };
  readonly podSeries: Readonly<Record<'core' | 'full', PodSeries>>;
  /**
   * Series by probe; the key `agent` contains the agent's own series. `all` was measured with every probe on and
   * `detail: core`.
   */
  readonly series: Readonly<Record<string, Readonly<Record<'core' | 'full' | 'all', SeriesCount>>>>;
  /** Number of series of each of the agent's own metrics. */
  readonly agent: Readonly<Record<string, number>>;
  readonly page: Readonly<Record<'core' | 'full', PageFigures>>;
  readonly prometheus: Readonly<Record<'core' | 'full', PrometheusFigures>>;
  /** Figures by event type. */
  readonly events: Readonly<Record<string, EventFigures>>;
}
