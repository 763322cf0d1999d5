import { expect, it } from 'vitest';
import { Selectors } from './selectors.ts';

const web = { namespace: 'shop', name: 'web', selector: { app: 'web', tier: 'front' } };
const pod = (labels: Record<string, string>, namespace = 'shop') => ({ namespace, labels });

it('finds the Services of the namespace of which a Pod has all labels', () => {
  const selectors = new Selectors();
  selectors.set('1', web);
  selectors.set('2', { namespace: 'shop', name: 'all', selector: { tier: 'front' } });
  selectors.set('3', { namespace: 'shop', name: 'manual' });
  selectors.set('4', { namespace: 'shop', name: 'odd', selector: { constructor: 'x' } });
  expect(selectors.of(pod({ app: 'web', tier: 'front', more: '1' }))).toEqual(['web', 'all']);
  expect(selectors.of(pod({ app: 'other', tier: 'front' }))).toEqual(['all']);
  expect(selectors.of(pod({ app: 'web' }))).toEqual([]);
  expect(selectors.of(pod({ app: 'web', tier: 'front' }, 'other'))).toEqual([]);
});

it('follows changes', () => {
  const selectors = new Selectors();
  selectors.set('1', web);
  selectors.set('1', { ...web, selector: { app: 'api' } });
  expect([selectors.of(pod(web.selector)), selectors.of(pod({ app: 'api' }))]).toEqual([[], ['web']]);
  selectors.delete('1');
  expect(selectors.of(pod({ app: 'api' }))).toEqual([]);
});

it('counts Services that do not fit, until they are gone', () => {
  const selectors = new Selectors(1);
  selectors.set('1', web);
  selectors.set('2', { ...web, name: 'late' });
  expect([selectors.leftOut, selectors.of(pod(web.selector))]).toEqual([1, ['web']]);
  selectors.set('1', web);
  expect(selectors.of(pod(web.selector))).toEqual(['web']);
  selectors.delete('2');
  expect(selectors.leftOut).toBe(0);
});
