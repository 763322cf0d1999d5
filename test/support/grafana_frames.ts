import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Answer } from './map_panel.ts';

/**
 * Runs the transformations of a panel with Grafana's own code. scripts/setup --test bundles it from the npm package
 * `@grafana/data`.
 */

const BUNDLE = fileURLToPath(new URL('../../.cache/grafana_data/bundle.cjs', import.meta.url));

export interface Field {
  readonly name: string;
  readonly type: string;
  readonly config: object;
  readonly labels?: Readonly<Record<string, string>>;
  readonly values: readonly unknown[];
}

export interface Frame {
  readonly refId?: string;
  readonly name?: string;
  readonly fields: readonly Field[];
  readonly length: number;
}

/** Part of `@grafana/data` that the bundle exports. */
interface GrafanaData {
  transform(configs: readonly object[], frames: readonly Frame[]): Promise<Frame[]>;
  readonly NodeGraphDataFrameFieldNames: Readonly<Record<string, string>>;
}

function grafanaData(): GrafanaData {
  if (!existsSync(BUNDLE)) throw new Error('scripts/setup --test could not fetch @grafana/data from the npm registry');
  return createRequire(import.meta.url)(BUNDLE) as GrafanaData;
}

/** Returns the names that Grafana has for the fields of node graphs. It ignores their case. */
export function fieldNames(): Readonly<Record<string, string>> {
  return grafanaData().NodeGraphDataFrameFieldNames;
}

/** Returns the frames that a panel with these transformations draws. */
export function transformed(configs: readonly object[], answers: readonly Answer[]): Promise<Frame[]> {
  return grafanaData().transform(configs, answers.flatMap(framesOf));
}

/**
 * Returns the frames that Grafana's data source makes of answers to instant queries: one for each series, with the
 * legend as its name and the labels at the field of the value (grafana: pkg/promlib/querydata/response.go).
 */
function framesOf({ refId, result }: Answer): Frame[] {
  return result.map(({ metric, value: [seconds, value] }) => ({
    refId,
    ...(metric['stat'] === undefined ? {} : { name: metric['stat'] }),
    length: 1,
    fields: [
      { name: 'Time', type: 'time', config: {}, values: [seconds * 1_000] },
      {
        name: 'Value',
        type: 'number',
        config: { displayNameFromDS: metric['stat'] },
        labels: metric,
        values: [Number(value)],
      },
    ],
  }));
}

/** Returns the rows of a frame, as objects. */
export function rowsOf({ fields, length }: Frame): Record<string, unknown>[] {
  return Array.from({ length }, (_, index) =>
    Object.fromEntries(fields.map(({ name, values }) => [name, values[index]])),
  );
}

/** Returns the frames of the edges and of the nodes, as the node graph tells them apart. */
export function graphFrames(frames: readonly Frame[]): { readonly edges: Frame[]; readonly nodes: Frame[] } {
  const isEdges = ({ fields }: Frame) => fields.some(({ name }) => name === 'source');
  return { edges: frames.filter(isEdges), nodes: frames.filter((frame) => !isEdges(frame)) };
}
