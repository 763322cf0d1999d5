import type { MetricDescriptor } from '#probe/metric.ts';
import type { CountsFromZero } from './births.ts';
import type { Family } from './family.ts';
import { LabelledFamily } from './labelled_family.ts';
import { PlainFamily } from './plain_family.ts';

/**
 * Creates the family of a metric without joint labels.
 * @param overflowed called with the name of a label when one of its values is collapsed into `*`
 * @param fromZero whether a new row counts from zero; by default, no row is shown at 0 first
 */
export function createFamily(
  descriptor: MetricDescriptor,
  overflowed: (label: string) => void,
  fromZero: CountsFromZero = () => false,
): Family {
  const isPlain = Object.keys(descriptor.labels).length === 0 && descriptor.type !== 'histogram';
  return isPlain ? new PlainFamily(descriptor, fromZero) : new LabelledFamily(descriptor, overflowed, fromZero);
}
