/** What `npm run bench -- sizing` has measured; docs/scale.md is computed from it. */

/** Series of one probe on a page. */
export interface SeriesCount {
  /** Of a Pod, the median. */
  readonly pod: number;
  /** Of the node. */
  readonly node: number;
}

export interface PrometheusFigures {
  readonly series: number;
  readonly samples: number;
  /** Resident, less what it took before the first page. */
  readonly memoryBytesASeries: number;
  readonly headChunksASeries: number;
  readonly cpuMicrosecondsASample: number;
  /** Of a block with as many samples a series as one of two hours has at 30 s: chunks and index. */
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
  /** The text, and what Loki counts beside it. */
  readonly lineBytes: number;
  readonly metadataBytes: number;
  /** Of a push, for each event in it. */
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
    /** Memory of a Prometheus that has nothing yet. */
    readonly idleBytes: number;
  };
  /** By probe; `agent` is what it says of itself. `all`: every probe on, core. */
  readonly series: Readonly<Record<string, Readonly<Record<'core' | 'full' | 'all', SeriesCount>>>>;
  /** Series of what the agent says of itself, by metric. */
  readonly agent: Readonly<Record<string, number>>;
  readonly page: Readonly<Record<'core' | 'full', PageFigures>>;
  readonly prometheus: Readonly<Record<'core' | 'full', PrometheusFigures>>;
  /** By type. */
  readonly events: Readonly<Record<string, EventFigures>>;
}
