const FORM = /^\d{1,4}(\.\d{1,3})?%$/;

/** Parses `2%` to 0.02. Returns undefined if the text is not a percentage. */
export function parsePercent(text: string): number | undefined {
  return FORM.test(text) ? Number.parseFloat(text) / 100 : undefined;
}
