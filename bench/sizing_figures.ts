/** Results of `npm run bench -- sizing`; docs/scale.md is computed from them. */

/** Series of one probe on a page. */
export interface SeriesCount {
  /** Median number of series of a Pod. */
  readonly pod: number;
  /** Number of series of the node. */
  readonly node: number;
}

export interface PrometheusFigures {
  readonly series: number;
  readonly samples: number;
  /** Resident memory minus that before the first scrape. */
  readonly memoryBytesASeries: number;
  readonly headChunksASeries: number;
  readonly cpuMicrosecondsASample: number;
  /** Size of chunks and index in a block that holds as many samples per series as two hours at an interval of 30 s. */
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
