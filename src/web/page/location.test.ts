import { describe, expect, it } from 'vitest';
import { formatPlace, parsePlace } from './location.ts';

describe('the place in the URL', () => {
  it('survives writing and reading', () => {
    const place = { tab: 'events', filters: { type: 'tcp_reset', text: 'a&b = #?%' } } as const;
    expect(parsePlace(formatPlace(place))).toEqual(place);
    expect(formatPlace({ tab: 'pods', filters: { q: '' } })).toBe('#pods');
  });

  it('is the first tab if the URL is malformed', () => {
    for (const hash of ['', '#', '#nothing', '#%%%'])
      expect(parsePlace(hash)).toEqual({ tab: 'incidents', filters: {} });
  });
});
