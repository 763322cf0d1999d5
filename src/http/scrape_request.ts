import type { Format } from '#collectors/exposition.ts';

/** Milliseconds for a page by default: Prometheus gives up after ten seconds unless it says otherwise. */
const DEADLINE_MS = 9_000;
/** Milliseconds for the rest of the page, and the transfer. */
const MARGIN_MS = 500;
const DEADLINE_MIN_MS = 500;
/** Longest deadline in milliseconds: all probes together have eight seconds. */
const DEADLINE_MAX_MS = 14_000;

/**
 * Chooses the format that an Accept header prefers. Only type and weight count: parameters such as the version or the escaping scheme
 * differ between clients, and we have one version of each.
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

/** Returns whether the client accepts gzip (RFC 9110, 12.5.3). A client without the header may not be able to unpack it. */
export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  const weights = new Map<string, number>();
  for (const [coding, weight] of preferences(acceptEncoding))
    weights.set(coding, Math.max(weights.get(coding) ?? 0, weight));
  return (weights.get('gzip') ?? weights.get('*') ?? 0) > 0;
}

/** Parses the values that a client accepts, with their weights. */
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

/** Returns how long a scraper waits, in milliseconds, as its header X-Prometheus-Scrape-Timeout-Seconds says. */
export function scrapeDeadlineMs(header: string | undefined): number {
  const seconds = Number(header);
  if (header === undefined || !Number.isFinite(seconds) || seconds <= 0) return DEADLINE_MS;
  return Math.min(DEADLINE_MAX_MS, Math.max(DEADLINE_MIN_MS, seconds * 1000 - MARGIN_MS));
}
