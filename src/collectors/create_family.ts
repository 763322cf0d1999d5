import type { MetricDescriptor } from '#probe/metric.ts';
import type { CountsFromZero } from './births.ts';
import type { Family } from './family.ts';
import { LabelledFamily } from './labelled_family.ts';
import { PlainFamily } from './plain_family.ts';

/**
 * @param overflowed called with each row that is collapsed for the first time
 * @param fromZero called with each new row; by default none is shown at 0 first
 */
export function createFamily(
  descriptor: MetricDescriptor,
  overflowed: (label: string) => void,
  fromZero: CountsFromZero = () => false,
): Family {
  const isPlain = Object.keys(descriptor.labels).length === 0 && descriptor.type !== 'histogram';
  return isPlain ? new PlainFamily(descriptor, fromZero) : new LabelledFamily(descriptor, overflowed, fromZero);
}
