/** The netsonde metric that is equivalent to a KubeSkoop metric. The rules add it up by Pod. */
export interface Equivalent {
  readonly metric: `netsonde_${string}`;
  /** Label values to include, by label. */
  readonly only?: Readonly<Record<string, readonly [string, ...string[]]>>;
  /** Label value to exclude, by label. */
  readonly without?: Readonly<Record<string, string>>;
  /** Conversion from netsonde's unit to that of KubeSkoop. */
  readonly scale?: readonly ['*' | '/', number];
  /**
   * For metrics of RDMA devices, the rules keep the label `device`, derive KubeSkoop's label `type` from it, and keep
   * `port` for metrics of a port.
   */
  readonly rdma?: { readonly driver?: RdmaDriver; readonly perPort: boolean };
  /** Difference from KubeSkoop's numbers. */
  readonly remark?: string;
}

export type RdmaDriver = 'mlx5' | 'erdma';
export const RDMA_DRIVERS: readonly RdmaDriver[] = ['mlx5', 'erdma'];

/** A KubeSkoop metric without an equivalent. `missing` is the reason. */
export interface Missing {
  readonly missing: string;
}

export interface KubeskoopProbe {
  /** KubeSkoop's name of the probe. */
  readonly probe: string;
  /** Remark that applies to all metrics of the probe. */
  readonly remark?: string;
  readonly metrics: Readonly<Record<`kubeskoop_${string}`, Equivalent | Missing>>;
}

export function isMissing(entry: Equivalent | Missing): entry is Missing {
  return 'missing' in entry;
}

export function same(metric: `netsonde_${string}`, how: Omit<Equivalent, 'metric'> = {}): Equivalent {
  return { metric, ...how };
}

export function missing(reason: string): Missing {
  return { missing: reason };
}
