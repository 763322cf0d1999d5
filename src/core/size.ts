import * as z from 'zod';

const BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

const FORM = /^(\d{1,9})(B|KiB|MiB|GiB)$/;

/** Parses `512KiB` or `64MiB`. Returns bytes, or undefined if the text is not a size. */
export function parseSize(text: string): number | undefined {
  const [, number, unit = ''] = FORM.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * (BYTES[unit] ?? 0);
}

/** Returns a schema for a size in the configuration. It checks the limits, and converts the size to bytes. */
export function size(byDefault: string, atLeast: string, atMost: string) {
  const [least = 0, most = 0] = [parseSize(atLeast), parseSize(atMost)];
  return z
    .string()
    .transform((text, context) => {
      const bytes = parseSize(text);
      if (bytes !== undefined && bytes >= least && bytes <= most) return bytes;
      context.addIssue({ code: 'custom', message: `a size from ${atLeast} to ${atMost}, like 512KiB or 64MiB` });
      return z.NEVER;
    })
    .prefault(byDefault);
}
