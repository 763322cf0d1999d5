import { describe, expect, it } from 'vitest';
import { forwardedBy, hostOf, isLocalHost, otherSite, parseHost } from './origin.ts';
import { isLoopback, ownerOf } from './peer.ts';

const local = (text: string, isUnix = false) =>
  isLocalHost(hostOf({ url: '/', headersDistinct: { host: [text] } }), isUnix);

describe('a name of this machine', () => {
  it.each([
    'localhost',
    'LOCALHOST',
    'LocalHost:9102',
    'localhost.',
    'localhost.:9102',
    '127.0.0.1',
    '127.0.0.1:9102',
    '127.255.0.3',
    '[::1]',
    '[::1]:9102',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]',
    '[::FFFF:7f00:1]:80',
    '',
  ])('%s is its own', (text) => {
    expect([local(text), local(text, true)]).toEqual([true, true]);
  });

  it.each([
    '127.0.0.1.attacker.example',
    '127.0.0.1.attacker.example:9102',
    '127.0.0.1.nip.io',
    '127.1',
    '127.0.0.01',
    '0x7f.0.0.1',
    'localhost.attacker.example',
    'localhost.localdomain',
    '10.0.0.1',
    '[::2]',
    '[::ffff:10.0.0.1]',
    '[::ffff:127.0.0.1.evil.com]',
  ])('%s is not', (text) => {
    const isIt = (isUnix: boolean) => {
      try {
        return local(text, isUnix);
      } catch {
        return false;
      }
    };
    expect([isIt(false), isIt(true)]).toEqual([false, false]);
  });

  it('a name without a dot is accepted on the Unix socket', () => {
    expect(['netsonde', 'unix', 'x:1'].map((text) => [local(text), local(text, true)])).toEqual([
      [false, true],
      [false, true],
      [false, true],
    ]);
  });
});

it.each([
  '[127.evil.com]',
  '[::1',
  '::1',
  'a b',
  'localhost@evil',
  'a/b',
  '[::1]x',
  'localhost:x',
  'localhost:123456',
  '.',
  'é',
  '[fe80::1%lo]',
])('%s is no Host', (text) => {
  expect(parseHost(text)).toBeUndefined();
  expect(() => local(text)).toThrow('the Host is neither a name nor an address');
});

it('a full URL takes precedence over the header, and two headers are refused', () => {
  const of = (url: string, ...host: string[]) => hostOf({ url, headersDistinct: { host } })?.name;
  expect(of('http://evil.example/api', 'localhost')).toBe('evil.example');
  expect(of('/api//localhost/', 'evil.example')).toBe('evil.example');
  expect(of('/')).toBeUndefined();
  expect(() => of('/', 'localhost', 'evil.example')).toThrow('more than one Host');
});

describe('a page of another site', () => {
  const refused = (headers: Record<string, string>, host = 'node:9102') =>
    otherSite(headers, parseHost(host)) !== undefined;

  it.each([
    [{ origin: 'http://evil.example' }],
    [{ origin: 'null' }],
    [{ origin: 'http://node' }],
    [{ origin: 'http://node:9102.evil.example' }],
    [{ origin: 'file://node:9102' }],
    [{ origin: '' }],
    [{ 'sec-fetch-site': 'cross-site' }],
    [{ 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }],
    [{ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }],
    [{ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' }],
    [{ 'sec-fetch-site': 'what comes next' }],
  ])('%j is one', (headers) => {
    expect(refused(headers as Record<string, string>)).toBe(true);
  });

  it.each([
    [{}],
    [{ origin: 'http://node:9102' }],
    [{ origin: 'HTTP://NODE.:9102' }],
    [{ 'sec-fetch-site': 'same-origin' }],
    [{ 'sec-fetch-site': 'none' }],
    [{ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }],
  ])('%j is none', (headers) => {
    expect(refused(headers as Record<string, string>)).toBe(false);
  });

  it('the port of the scheme may be left out', () => {
    expect([refused({ origin: 'http://node' }, 'node:80'), refused({ origin: 'https://node:443' }, 'node')]).toEqual([
      false,
      false,
    ]);
  });
});

it('a proxy declares that it asks for another client', () => {
  for (const name of ['x-forwarded-for', 'x-forwarded-host', 'forwarded', 'via', 'x-real-ip']) {
    expect(forwardedBy({ host: 'localhost', [name]: '' })).toBe(name);
  }
  expect(forwardedBy({ host: 'localhost', 'x-prometheus-scrape-timeout-seconds': '1', accept: '*/*' })).toBeUndefined();
});

it('only true loopback addresses count, not similar texts', () => {
  expect(['127.0.0.1', '::1', '::ffff:127.0.0.1'].map(isLoopback)).toEqual([true, true, true]);
  expect(['10.0.0.1', '::ffff:10.0.0.1', '127.0.0.1.evil', '::', '', undefined].map(isLoopback)).toEqual(
    Array(6).fill(false),
  );
});

it('an owner is an address of IPv4, or a network of IPv6', () => {
  const of = (remoteAddress?: string) => ownerOf({ remoteAddress } as never);
  expect(of()).toBe('unix');
  expect([of('10.0.0.1'), of('::ffff:10.0.0.1')]).toEqual(['10.0.0.1', '10.0.0.1']);
  expect([of('127.0.0.1'), of('::1')]).toEqual(['loopback', 'loopback']);
  expect([of('2001:db8:1:2:3:4:5:6'), of('2001:db8:1:2::9')]).toEqual(['2001:db8:1:2', '2001:db8:1:2']);
  expect([of('fe80::1'), of('2001:db8::')]).toEqual(['fe80:0:0:0', '2001:db8:0:0']);
});
