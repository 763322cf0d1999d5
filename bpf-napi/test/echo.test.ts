import { expect, it } from 'vitest';
import { echo } from '../lib/index.ts';

it.each(['127.0.0.1', '::1'])('%s answers', (address) => {
  expect(echo(address, 56, 2_000)).toMatchObject({ kind: 'reply', type: 0, code: 0, from: '' });
});

it('a wrong address is an error', () => {
  expect(() => echo('localhost', 56, 100)).toThrow(expect.objectContaining({ code: 'ECHO' }));
});
