const GROUPED = new Intl.NumberFormat('en');

export function count(value: number): string {
  return GROUPED.format(value);
}

/** Formats a rate with up to three significant digits. Positive values are never shown as zero. */
export function rate(value: number): string {
  if (value === 0) return '0';
  if (value < 0.01) return '<0.01';
  return value >= 100 ? GROUPED.format(Math.round(value)) : String(Number(value.toPrecision(value < 1 ? 2 : 3)));
}

export function percent(share: number): string {
  return `${rate(share * 100)} %`;
}

const BYTE_UNITS = [
  ['TB', 1e12],
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
] as const;

/** Formats a number of bytes: `0 B`, `21 kB`, `1.5 MB`. */
export function bytes(value: number): string {
  // 999.9 kB must not become `1,000 kB`.
  const [unit, size] = BYTE_UNITS.find(([, least]) => value >= least * 0.9995) ?? ['B', 1];
  return `${rate(value / size)} ${unit}`;
}

export function bytesRate(value: number): string {
  return `${bytes(value)}/s`;
}

/** Formats a duration: `850 µs`, `12.3 ms`, `4.05 s`. */
export function seconds(value: number): string {
  const figures = (number: number) => String(Number(number.toPrecision(3)));
  if (value === 0) return '0 s';
  if (value < 1e-6) return `${figures(value * 1e9)} ns`;
  if (value < 1e-3) return `${figures(value * 1e6)} µs`;
  return value < 1 ? `${figures(value * 1e3)} ms` : `${figures(value)} s`;
}

const UNITS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
] as const;

/** Formats a duration with its two largest units: `2 h 5 min`, `3 min 20 s`, `14 s`. */
export function span(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1_000));
  const first = UNITS.findIndex(([, size]) => total >= size);
  if (first < 0) return '0 s';
  let left = total;
  const parts: string[] = [];
  for (const [unit, size] of UNITS.slice(first, first + 2)) {
    const units = Math.floor(left / size);
    left -= units * size;
    if (units > 0) parts.push(`${units} ${unit}`);
  }
  return parts.join(' ');
}

/** Formats a time in the browser's time zone: `14:03:09`, with milliseconds if requested. */
export function clock(time: string | number, withMs = false): string {
  const date = new Date(time);
  const pad = (value: number, width = 2) => String(value).padStart(width, '0');
  const whole = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return withMs ? `${whole}.${pad(date.getMilliseconds(), 3)}` : whole;
}

/** Returns `shop/web`, or `web` if there is no namespace. Returns `the node` if both are empty. */
export function entityName({ namespace, pod }: { namespace: string | null; pod: string | null }): string {
  if (pod === null) return 'unknown';
  if (pod === '') return 'the node';
  return namespace ? `${namespace}/${pod}` : pod;
}
