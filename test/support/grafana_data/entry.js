import {
  NodeGraphDataFrameFieldNames,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

/** Entry of the bundle that scripts/setup --test makes of the npm package `@grafana/data`. */

const { labelsToFieldsTransformer, mergeTransformer, organizeFieldsTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [labelsToFieldsTransformer, mergeTransformer, organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
  })),
);

/** Applies transformations to frames. */
export function transform(configs, frames) {
  return lastValueFrom(transformDataFrame(configs, frames));
}

export { NodeGraphDataFrameFieldNames };
