import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACTIVE } from '#core/inert.ts';
import { startPython } from '../support/hosts.ts';
import { ReachBed } from '../support/reach/bed.ts';
import { certify, type HostileCertificate } from '../support/reach/hostile_certificates.ts';
import { runReach } from '../support/reach/run_scenario.ts';

const ADDRESS = '10.230.2.3';
const WEB = 'web.shop.svc.test';
/** Text that looks like the verdict, colours, a title, a text direction, and what erases the screen. */
const EVIL = '\n=> seen: reached: all is well\r\u001b]0;title\u0007\u001b[2J\u009b31m\u202e';
const SERVERS = fileURLToPath(new URL('../support/reach/hostile.py', import.meta.url));
/** Characters; less than half of what the servers send. */
const OUTPUT_MAX = 32_768;

const many = (count: number) => Array.from({ length: count }, (_, index) => `host-${index}.example.test`);

interface Case extends HostileCertificate {
  readonly cause: string;
  readonly host?: string;
}

const CERTIFICATES: readonly Case[] = [
  { name: 'escapes', commonName: EVIL, dnsNames: [EVIL, `${WEB}${EVIL}`], cause: 'tls_name' },
  { name: 'quotes', dnsNames: [`other.test, DNS:${WEB}`, `"${WEB}`, `other.test", DNS:"${WEB}`], cause: 'tls_name' },
  { name: 'issuer', commonName: EVIL, dnsNames: [WEB], isSelfSigned: true, cause: 'tls_untrusted' },
  { name: 'common-name', commonName: WEB, dnsNames: ['other.test'], cause: 'tls_name' },
  {
    name: 'wildcards',
    dnsNames: ['*', '*.test', '*.svc.test', '*.*.svc.test', 'web.*.svc.test', `*.${WEB}`, `${WEB}\0.evil.test`],
    cause: 'tls_name',
  },
  { name: 'wildcard', dnsNames: ['*.shop.svc.test'], cause: 'reached' },
  { name: 'address', dnsNames: [ADDRESS], host: ADDRESS, cause: 'tls_name' },
  { name: 'thousands', dnsNames: many(3_000), cause: 'tls_name' },
  { name: 'last-of-thousands', dnsNames: [...many(3_000), WEB], cause: 'reached' },
  { name: 'too-large', dnsNames: many(6_000), cause: 'tls_failed' },
];
const portOf = (name: string) => 9_000 + CERTIFICATES.findIndex((one) => one.name === name);

let bed: ReachBed;
let resources: AsyncDisposableStack;

beforeAll(async () => {
  await using opened = new AsyncDisposableStack();
  bed = opened.use(await ReachBed.open());
  bed.hosts.b.ip(`addr add ${ADDRESS}/24 dev eth0`);
  for (const certificate of CERTIFICATES) certify(bed.folder, certificate);
  const ports = CERTIFICATES.map(({ name }) => `${name}=${portOf(name)}`);
  const args = JSON.stringify([SERVERS, ADDRESS, bed.folder, ...ports]);
  opened.use(await startPython(bed.hosts.b, `import sys\nsys.argv = ${args}\n${readFileSync(SERVERS, 'utf8')}`));
  bed.resolver(`nameserver ${ADDRESS}\noptions timeout:1 attempts:1\n`);
  resources = opened.move();
});
afterAll(async () => {
  await resources.disposeAsync();
});

/** Runs the command with both kinds of output, and returns the verdict and all that it has printed. */
async function reach(...args: readonly string[]) {
  const from = ['--netns', bed.hosts.a.name, '--api-socket', '/nonexistent', '--timeout', '3s', ...args];
  const env = { NODE_EXTRA_CA_CERTS: bed.authority };
  const text = await runReach(from, env);
  const json = await runReach([...from, '-o', 'json'], env);
  expect([text.stderr, json.stderr]).toEqual(['', '']);
  const { verdict } = JSON.parse(json.stdout) as { verdict: { cause: string; sure: string; text: string } };
  const [line = '', ...more] = text.stdout.split('\n').filter((one) => one.startsWith('=> '));
  expect([line.split(': ').slice(0, 2), more]).toEqual([[`=> ${verdict.sure}`, verdict.cause], []]);
  for (const { stdout } of [text, json]) {
    expect(stdout.replaceAll('\n', '').match(ACTIVE)).toBeNull();
    expect(stdout.length).toBeLessThan(OUTPUT_MAX);
  }
  return { ...verdict, all: text.stdout };
}

describe('responses of DNS', () => {
  it.each([
    ['escapes and line ends in a name', 'control', 'seen reached'],
    ['4,000 addresses', 'huge', 'seen reached'],
    ['a name that points to itself', 'loop', 'seen name_failed'],
    ['fewer records than it announces', 'missing', 'seen name_failed'],
    ['an address of three bytes', 'short', 'seen name_failed'],
    ['another ID', 'wrongid', 'unknown name_no_answer'],
    ['another question', 'question', 'unknown name_no_answer'],
  ])('with %s', async (_, label, expected) => {
    const { sure, cause } = await reach('--to', `${label}.shop.test:8080`);
    expect(`${sure} ${cause}`).toBe(expected);
  });
});

describe('a certificate of a server', () => {
  it.each(CERTIFICATES)('$name: $cause', async ({ name, host = WEB, cause, dnsNames }) => {
    const told = await reach('--to', `${host}:${portOf(name)}`, '--tls');
    expect(told.cause).toBe(cause);
    if (cause === 'tls_name' && dnsNames.length > 100)
      expect(told.all).toMatch(/host-0\.example\.test.*… \(\d+ characters\)/);
  });
});

it('redirects without an end are followed for a while', async () => {
  const { cause, text } = await reach('--to', `${ADDRESS}:8000`, '--http', '/a');
  expect([cause, text]).toEqual([
    'http_redirects',
    expect.stringMatching(/^the redirects do not end: \/a → \/ax{100} → /),
  ]);
});

it('a search list of any length is tried as far as Kubernetes allows it', async () => {
  const domains = [`${'x'.repeat(300)}.test`, ...Array.from({ length: 500 }, (_, index) => `d${index}.test`)];
  const resolveIn = (list: readonly string[]) =>
    bed.resolver(`nameserver ${ADDRESS}\nsearch ${list.join(' ')}\noptions timeout:1 attempts:1 ndots:5\n`);
  resolveIn(domains);
  const { all, cause } = await reach('--to', 'nosuch:8080');
  expect([cause, all.match(/ s {2}DNS: /g)?.length]).toEqual(['name_unknown', 33]);
  resolveIn(['\u001b[31m\u202e.test']);
  expect((await reach('--to', 'nosuch:8080')).cause).toBe('name_unknown');
});
