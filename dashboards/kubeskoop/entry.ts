/** Our metric with the numbers of a metric of KubeSkoop, summed by Pod. */
export interface Equivalent {
  readonly metric: `netsonde_${string}`;
  /** Values that count, by label. */
  readonly only?: Readonly<Record<string, readonly [string, ...string[]]>>;
  /** Value that does not count, by label. */
  readonly without?: Readonly<Record<string, string>>;
  /** Conversion from our unit to KubeSkoop's. */
  readonly scale?: readonly ['*' | '/', number];
  /** For metrics of RDMA devices: the label `device` stays, with KubeSkoop's `type` made from it, and `port` unless it is the device's. */
  readonly rdma?: { readonly driver?: RdmaDriver; readonly perPort: boolean };
  /** Difference from KubeSkoop's numbers. */
  readonly remark?: string;
}

export type RdmaDriver = 'mlx5' | 'erdma';
export const RDMA_DRIVERS: readonly RdmaDriver[] = ['mlx5', 'erdma'];

/** A metric of KubeSkoop for which we have no numbers. */
export interface Missing {
  readonly missing: string;
}

export interface KubeskoopProbe {
  /** Name in KubeSkoop. */
  readonly probe: string;
  /** Remark about all of its metrics. */
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
