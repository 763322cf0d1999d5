import { expect, it } from 'vitest';
import { selectionText } from './records.tsx';

const TEXTS = { what: 'requests', unknown: 'Nobody knows.', none: 'Switch it on.' };

it.each([
  [undefined, 'Nobody knows.'],
  [{ perPod: '10/s' }, 'Switch it on.'],
  [{ failed: false, perPod: '10/s' }, 'Switch it on.'],
  [{ failed: true, slow: '1s' }, 'The configuration of the probe selects failed requests, requests of at least 1s.'],
  [{ sample: '1%' }, 'The configuration of the probe selects 1% of all others.'],
])('records: %j', (selected, text) => {
  expect(selectionText({ ...TEXTS, selected })).toBe(text);
});
