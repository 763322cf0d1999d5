/** One of our metrics that gives the numbers of one of KubeSkoop's, added up by Pod. */
export interface Equivalent {
  readonly metric: `netsonde_${string}`;
  /** By label: the values that count. */
  readonly only?: Readonly<Record<string, readonly [string, ...string[]]>>;
  /** By label: the value that does not count. */
  readonly without?: Readonly<Record<string, string>>;
  /** From our unit to KubeSkoop's. */
  readonly scale?: readonly ['*' | '/', number];
  /** Of an RDMA device: the label `device` stays, with KubeSkoop's `type` made from it, and `port` unless it is the device's. */
  readonly rdma?: { readonly driver?: RdmaDriver; readonly perPort: boolean };
  /** How its numbers are not KubeSkoop's. */
  readonly remark?: string;
}

export type RdmaDriver = 'mlx5' | 'erdma';
export const RDMA_DRIVERS: readonly RdmaDriver[] = ['mlx5', 'erdma'];

/** A metric of KubeSkoop's that we have no numbers for. */
export interface Missing {
  readonly missing: string;
}

export interface KubeskoopProbe {
  /** As KubeSkoop calls it. */
  readonly probe: string;
  /** What holds for all of its metrics. */
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
