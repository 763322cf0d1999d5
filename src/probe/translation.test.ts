import { describe, expect, it } from 'vitest';
import { type IntervalEnds, TranslatedRow } from './translation.ts';

const NODE = '10.0.0.1';
const [CART, MAIL] = ['10.1.0.7', '10.1.0.8'];

const ends = (...addresses: readonly string[]): IntervalEnds => ({ ends: new Set(addresses) });
const failed = (failure: IntervalEnds['failure'], ...addresses: readonly string[]): IntervalEnds => ({
  ...ends(...addresses),
  failure,
});

function statesOf(...intervals: readonly (IntervalEnds | undefined)[]): string[] {
  const row = new TranslatedRow(NODE);
  return intervals.map((interval) => {
    const { state, address = '', next = '' } = row.next(interval);
    return [state, address, next].filter((part) => part !== '').join(' ');
  });
}

describe('a row behind NAT', () => {
  it.each([
    ['has one real end', [ends(CART), ends(CART), undefined], ['pending', 'resolved', 'resolved']],
    ['is not translated', [ends(NODE), ends(NODE)], ['pending', 'direct']],
    ['has several real ends at once', [ends(CART), ends(CART, MAIL), ends(CART)], ['pending', 'mixed', 'mixed']],
    [
      'changes its real end',
      [ends(CART), ends(CART), ends(MAIL), ends(MAIL)],
      ['pending', 'resolved', 'mixed', 'resolved'],
    ],
    [
      'changes its real end after an interval without connections',
      [ends(CART), ends(CART), undefined, ends(MAIL)],
      ['pending', 'resolved', 'resolved', 'resolved'],
    ],
    [
      'has an unknown connection',
      [ends(CART), ends(CART), failed('untracked', CART), ends(CART), ends(CART)],
      ['pending', 'resolved', 'untracked', 'untracked', 'resolved'],
    ],
    [
      'has too many connections',
      [ends(CART), failed('no_room'), undefined, ends(CART)],
      ['pending', 'no_room', 'no_room', 'resolved'],
    ],
    ['had no connections yet', [undefined, undefined, ends(CART)], ['pending', 'pending', 'resolved']],
  ])('%s', (_, intervals, states) => {
    expect(statesOf(...intervals).map((text) => text.split(' ')[0])).toEqual(states);
  });

  it('gives the address of a single real end in advance, so that its owner can be asked for', () => {
    expect(statesOf(ends(CART), ends(CART), ends(MAIL), ends(MAIL, CART), ends(NODE))).toEqual([
      `pending ${CART}`,
      `resolved ${CART}`,
      `mixed ${MAIL}`,
      'mixed',
      'mixed',
    ]);
  });
});
