/** A value of a line. */
export interface SparkPoint {
  /** Position on the time axis, from 0 to 1. */
  readonly at: number;
  /** Null if the value is unknown. */
  readonly value: number | null;
  /** Whether there is no data between the previous point and this one, so that no line connects them. */
  readonly isAfterGap?: boolean;
}

export type SparkTone = 'ok' | 'notice' | 'alert';

/**
 * Returns the path of a line that is interrupted where values are unknown. A value without neighbours is a dot, which
 * `stroke-linecap: round` makes visible.
 */
export function linePath(
  points: readonly SparkPoint[],
  x: (at: number) => number,
  y: (value: number) => number,
): string {
  let path = '';
  let isOpen = false;
  for (const [index, { at, value, isAfterGap = false }] of points.entries()) {
    if (value === null) {
      isOpen = false;
      continue;
    }
    const next = points[index + 1];
    const isAlone = (!isOpen || isAfterGap) && (next === undefined || next.value === null || next.isAfterGap === true);
    path += `${isOpen && !isAfterGap ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}${isAlone ? 'h.1' : ''}`;
    isOpen = true;
  }
  return path;
}

const STEPS = [1, 1.5, 2, 3, 5, 7.5, 10];

/** Returns a round number that is greater than zero and at least as large as all values. */
export function axisMax(points: readonly SparkPoint[]): number {
  const max = points.reduce((most, { value }) => Math.max(most, value ?? 0), 0);
  if (max === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  // A rounding error must not select the next larger step.
  return power * (STEPS.find((step) => step * power >= max * 0.999_999) ?? 10);
}

/**
 * Describes a line in a sentence.
 * @param title name of the quantity, in the singular or plural
 */
export function lineSentence(
  title: string,
  points: readonly SparkPoint[],
  format: (value: number) => string,
  period = 'in the last 5 minutes',
): string {
  const values = points.flatMap(({ value }) => value ?? []);
  if (values.length === 0) return `${title} ${period}: unknown.`;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const last = points.at(-1)?.value ?? null;
  const now = last === null ? 'now unknown' : `now ${format(last)}`;
  return least === most
    ? `${title} ${period}: always ${format(most)}, ${now}.`
    : `${title} ${period}: ${format(least)} to ${format(most)}, ${now}.`;
}
