import * as z from 'zod';

const NANOSECONDS: Readonly<Record<string, number>> = { us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

const FORM = /^(\d{1,9})(us|ms|s|m|h)$/;

/** Parses `250us`, `10ms` or `15m`. Returns nanoseconds, or undefined if the text is not a duration. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = ''] = FORM.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * (NANOSECONDS[unit] ?? 0);
}

/** Returns a schema for a positive duration in the configuration. It converts the duration to nanoseconds. */
export function duration(byDefault: string) {
  return z
    .string()
    .transform((text, context) => {
      const nanoseconds = parseDuration(text);
      if (nanoseconds !== undefined && nanoseconds > 0) return nanoseconds;
      context.addIssue({ code: 'custom', message: 'a duration, like 250us, 10ms, 2s or 15m' });
      return z.NEVER;
    })
    .prefault(byDefault);
}

const NANOSECONDS_PER_MS = 1e6;

/**
 * Returns a schema for a duration in the configuration. It checks the limits, and converts the duration to
 * milliseconds. `0s` is allowed if it is within the limits.
 */
export function milliseconds(byDefault: string, atLeast: string, atMost: string) {
  return millisecondsBetween(atLeast, atMost).prefault(byDefault);
}

/** Like {@link milliseconds}, but without a default. */
export function millisecondsBetween(atLeast: string, atMost: string) {
  const [least = 0, most = 0] = [parseDuration(atLeast), parseDuration(atMost)];
  return z.string().transform((text, context) => {
    const nanoseconds = parseDuration(text);
    if (nanoseconds !== undefined && nanoseconds >= least && nanoseconds <= most) {
      return nanoseconds / NANOSECONDS_PER_MS;
    }
    context.addIssue({ code: 'custom', message: `a duration from ${atLeast} to ${atMost}, like 500ms, 5s or 1m` });
    return z.NEVER;
  });
}

const MILLISECONDS_IN_SECOND = 1_000;

/** Formats a duration with three significant digits: `850 µs`, `12.3 ms`, `4.05 s`. */
export function formatDuration(nanoseconds: number): string {
  const microseconds = nanoseconds / 1e3;
  if (microseconds < MILLISECONDS_IN_SECOND) return `${figures(microseconds)} µs`;
  const milliseconds = nanoseconds / 1e6;
  if (milliseconds < MILLISECONDS_IN_SECOND) return `${figures(milliseconds)} ms`;
  return `${figures(nanoseconds / 1e9)} s`;
}

function figures(value: number): string {
  return String(Number(value.toPrecision(3)));
}
