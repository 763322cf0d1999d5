import { describe, expect, it } from 'vitest';
import { parseListenAddress } from './listen_address.ts';

describe('parseListenAddress', () => {
  it.each([
    ['127.0.0.1:9102', { host: '127.0.0.1', port: 9102 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    ['[::]:9102', { host: '::', port: 9102 }],
    [':9000', { host: undefined, port: 9000 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
  ])('%s', (text, expected) => expect(parseListenAddress(text)).toEqual(expected));

  it.each(['9102', '1.2.3.4', '::1:80', ':::9102', 'a:65536', 'a:x', ''])('refuses %j', (text) => {
    expect(() => parseListenAddress(text)).toThrow(/HOST:PORT/);
  });
});
