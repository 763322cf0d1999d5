const FORM = /^\d{1,4}(\.\d{1,3})?%$/;

/** Returns the share of `2%` or `0.5%`, 0.02 or 0.005; undefined where the text is not a percentage. */
export function parsePercent(text: string): number | undefined {
  return FORM.test(text) ? Number.parseFloat(text) / 100 : undefined;
}
