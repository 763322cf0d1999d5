/** Results of `npm run bench -- sizing`; docs/scale.md is computed from them. */

/** Series of one probe on a page. */
export interface SeriesCount {
  /** Series of a Pod, the median. */
  readonly pod: number;
  /** Series of the node. */
  readonly node: number;
}

export interface PrometheusFigures {
  readonly series: number;
  readonly samples: number;
  /** Resident bytes, less those before the first page. */
  readonly memoryBytesASeries: number;
  readonly headChunksASeries: number;
  readonly cpuMicrosecondsASample: number;
  /** Bytes of a block with as many samples per series as one of two hours has at 30 s: chunks and index. */
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
  /** Bytes of the text, and of the data that Loki counts beside it. */
  readonly lineBytes: number;
  readonly metadataBytes: number;
  /** Bytes of a push, for each event in it. */
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
    /** Memory of a Prometheus without data. */
    readonly idleBytes: number;
  };
  /** Series by probe; `agent` has the agent's own. `all`: every probe on, core. */
  readonly series: Readonly<Record<string, Readonly<Record<'core' | 'full' | 'all', SeriesCount>>>>;
  /** Series of the agent's own metrics, by metric. */
  readonly agent: Readonly<Record<string, number>>;
  readonly page: Readonly<Record<'core' | 'full', PageFigures>>;
  readonly prometheus: Readonly<Record<'core' | 'full', PrometheusFigures>>;
  /** Figures by type. */
  readonly events: Readonly<Record<string, EventFigures>>;
}
