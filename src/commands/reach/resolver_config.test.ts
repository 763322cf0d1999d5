import { describe, expect, it } from 'vitest';
import { addressesIn, candidatesOf, parseResolverConfig } from './resolver_config.ts';

const POD = 'nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n';

describe('resolv.conf', () => {
  it('has at most 32 domains, all of which can be names', () => {
    const domains = Array.from({ length: 40 }, (_, index) => `d${index}.test`);
    const { search } = parseResolverConfig(`search \u001b[31m.test ${'x'.repeat(254)} ${domains.join(' ')}\n`);
    expect(search).toEqual(domains.slice(0, 32));
  });

  it('of a Pod', () => {
    expect(parseResolverConfig(POD)).toEqual({
      servers: ['10.96.0.10'],
      search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
      ndots: 5,
      timeout: 5,
      attempts: 2,
    });
  });

  it('that is empty means this machine', () => {
    expect(parseResolverConfig('').servers).toEqual(['127.0.0.1']);
  });

  it('has limits, comments and scopes; the last search counts', () => {
    const text = `# nameserver 1.1.1.1
nameserver ::1
nameserver fe80::1%eth0 ; link
nameserver no-address
nameserver 10.0.0.1
nameserver 10.0.0.2
domain example.test
search a.test. b.test
options ndots:99 timeout:0 attempts:77 rotate edns0
`;
    expect(parseResolverConfig(text)).toEqual({
      servers: ['::1', 'fe80::1%eth0', '10.0.0.1'],
      search: ['a.test', 'b.test'],
      ndots: 15,
      timeout: 1,
      attempts: 5,
    });
  });
});

describe('the names that a resolver asks for', () => {
  const config = parseResolverConfig(POD);
  const [a, b, c] = config.search;

  it.each([
    ['web', [`web.${a}`, `web.${b}`, `web.${c}`, 'web']],
    [
      'web.shop.svc.cluster.local',
      [1, 2, 3, 4].map((index) => `web.shop.svc.cluster.local${['', `.${a}`, `.${b}`, `.${c}`, ''][index]}`),
    ],
    ['a.b.c.d.e.f', ['a.b.c.d.e.f', `a.b.c.d.e.f.${a}`, `a.b.c.d.e.f.${b}`, `a.b.c.d.e.f.${c}`]],
    ['example.com.', ['example.com']],
  ])('%s', (name, expected) => {
    expect(candidatesOf(name, config)).toEqual(expected);
  });
});

it('hosts', () => {
  const hosts = '127.0.0.1 localhost\n10.0.0.7\tdb Data # ours\n::1 localhost\nbroken db\n';
  expect(addressesIn(hosts, 'DATA.')).toEqual(['10.0.0.7']);
  expect(addressesIn(hosts, 'localhost')).toEqual(['127.0.0.1', '::1']);
  expect(addressesIn(hosts, 'ours')).toEqual([]);
});
