import type { Exposition } from './exposition.ts';

/** Sums the samples that have these labels, by the values of other labels. Sums of 0 are omitted. */
export function sumsOf(
  page: Exposition,
  name: string,
  labels: Readonly<Record<string, string>>,
  by: readonly string[],
): Record<string, number> {
  const samples = (page.named.get(name) ?? []).filter((sample) =>
    Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  const sums = new Map<string, number>();
  for (const sample of samples) {
    const key = by.map((label) => sample.labels[label]).join(' ');
    sums.set(key, (sums.get(key) ?? 0) + Number(sample.value));
  }
  return Object.fromEntries([...sums].filter(([, value]) => value !== 0));
}
