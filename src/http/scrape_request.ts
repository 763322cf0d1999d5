import type { Format } from '#collectors/exposition.ts';

/** Default deadline of a page in milliseconds, just below the default scrape timeout of Prometheus. */
const DEADLINE_MS = 9_000;
/** Milliseconds reserved for the rest of the page and its transfer. */
const MARGIN_MS = 500;
const DEADLINE_MIN_MS = 500;
/** Maximum deadline in milliseconds. A collection takes at most eight seconds. */
const DEADLINE_MAX_MS = 14_000;

/**
 * Returns the preferred format of an Accept header. Only media types and weights are compared. Parameters such as the
 * version and the escaping scheme are ignored, because only one version of each format is supported.
 */
export function chooseFormat(accept: string | undefined): Format {
  let openmetrics = 0;
  let text = 0;
  for (const [type, weight] of preferences(accept)) {
    if (type === 'application/openmetrics-text') openmetrics = Math.max(openmetrics, weight);
    else if (type === 'text/plain' || type === 'text/*' || type === '*/*') text = Math.max(text, weight);
  }
  return openmetrics > 0 && openmetrics >= text ? 'openmetrics' : 'text';
}

/**
 * Whether the client accepts gzip (RFC 9110, section 12.5.3). A client that does not send the header may be unable to
 * decompress.
 */
export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  const weights = new Map<string, number>();
  for (const [coding, weight] of preferences(acceptEncoding))
    weights.set(coding, Math.max(weights.get(coding) ?? 0, weight));
  return (weights.get('gzip') ?? weights.get('*') ?? 0) > 0;
}

/** Parses the accepted values with their weights. */
function preferences(header = ''): (readonly [what: string, weight: number])[] {
  return header.split(',').map((part) => {
    const [what = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase());
    return [what, weightOf(parameters)];
  });
}

function weightOf(parameters: readonly string[]): number {
  const given = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
  const weight = given === undefined ? 1 : Number(given);
  return Number.isFinite(weight) ? weight : 0;
}

/** Returns the deadline of a page in milliseconds, derived from the header X-Prometheus-Scrape-Timeout-Seconds. */
export function scrapeDeadlineMs(header: string | undefined): number {
  const seconds = Number(header);
  if (header === undefined || !Number.isFinite(seconds) || seconds <= 0) return DEADLINE_MS;
  return Math.min(DEADLINE_MAX_MS, Math.max(DEADLINE_MIN_MS, seconds * 1000 - MARGIN_MS));
}
