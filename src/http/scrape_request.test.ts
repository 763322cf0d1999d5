import { describe, expect, it } from 'vitest';
import { acceptsGzip, chooseFormat, scrapeDeadlineMs } from './scrape_request.ts';

describe('chooseFormat', () => {
  it.each([
    [undefined, 'text'],
    ['*/*', 'text'],
    ['text/plain', 'text'],
    ['application/openmetrics-text', 'openmetrics'],
    // Request headers of Prometheus 2.42.
    [
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
      'openmetrics',
    ],
    // Request headers of Prometheus 3.
    [
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2',
      'openmetrics',
    ],
    ['text/plain;q=0.9,application/openmetrics-text;q=0.1', 'text'],
    ['application/openmetrics-text;q=0,*/*', 'text'],
    ['application/openmetrics-text;q=x', 'text'],
    ['text/html,application/xhtml+xml', 'text'],
  ])('%s: %s', (accept, format) => expect(chooseFormat(accept)).toBe(format));
});

describe('acceptsGzip', () => {
  it.each([
    [undefined, false],
    ['', false],
    ['gzip', true],
    ['GZIP', true],
    ['deflate, gzip;q=0.5, br', true],
    ['gzip;q=0', false],
    ['*', true],
    ['*, gzip;q=0', false],
    ['*;q=0', false],
    ['identity', false],
    ['gzip;q=x', false],
    ['zstd,xgzip', false],
  ])('%s: %s', (header, takes) => expect(acceptsGzip(header)).toBe(takes));
});

describe('scrapeDeadlineMs', () => {
  it.each([
    ['10', 9_500],
    ['2.5', 2_000],
    ['0.1', 500],
    ['60', 14_000],
    ['9e15', 14_000],
    ['1e400', 9_000],
    [undefined, 9_000],
    ['x', 9_000],
    ['-1', 9_000],
  ])('%s: %d', (header, deadline) => expect(scrapeDeadlineMs(header)).toBe(deadline));
});
