import { describe, expect, it } from 'vitest';
import { parseReach, parseReachTarget } from './arguments.ts';

describe('--to', () => {
  it.each([
    ['web:8080', { kind: 'host', host: 'web', port: 8080 }],
    ['web.shop.svc.cluster.local.:80', { kind: 'host', host: 'web.shop.svc.cluster.local.', port: 80 }],
    ['10.0.0.1:53', { kind: 'host', host: '10.0.0.1', port: 53 }],
    ['[fd00::1]:53', { kind: 'host', host: 'fd00::1', port: 53 }],
    ['fd00::1', { kind: 'host', host: 'fd00::1', port: undefined }],
    ['shop/web', { kind: 'object', namespace: 'shop', name: 'web', port: undefined }],
    ['shop/web-0:8080', { kind: 'object', namespace: 'shop', name: 'web-0', port: 8080 }],
  ])('%s', (text, expected) => {
    expect(parseReachTarget(text)).toEqual(expected);
  });

  it.each([
    '',
    ':80',
    'web:0',
    'web:65536',
    'web:http',
    'a/b/c:1',
    '[web]:80',
    'fd00::1:x',
    'a b:1',
    '/web:1',
    'a..b:1',
    'x\u001b[31m:1',
  ])('%j is refused with an example', (text) => {
    expect(() => parseReachTarget(text)).toThrow(/^--to .*: give .*, like web:8080/s);
  });
});

describe('arguments that contradict each other or are out of range', () => {
  const FROM = ['--from', 'shop/cart-0'];
  const TO = ['--to', 'web:80'];
  it.each([
    [[...TO], 'give one of --from, --netns and --pid'],
    [[...FROM, '--netns', 'a', ...TO], 'give one of --from, --netns and --pid'],
    [[...FROM], 'give --to'],
    [['--from', 'a/b/c', ...TO], '--from a/b/c: give NAMESPACE/POD'],
    [[...FROM, ...TO, '--udp', '--icmp'], 'give --udp or --icmp, not both'],
    [[...FROM, ...TO, '--udp', '--tls'], '--tls and --http need TCP'],
    [[...FROM, ...TO, '--icmp'], 'ICMP has no ports'],
    [[...FROM, '--to', 'web'], 'give the port, too'],
    [[...FROM, ...TO, '--http', 'index.html'], 'give a path like /healthz'],
    [[...FROM, ...TO, '--http', '/a b'], 'give a path like /healthz'],
    [[...FROM, ...TO, '--size', '0'], '--size 0: give a number from 1 to 16777216'],
    [[...FROM, ...TO, '--udp', '--size', '65508'], '--size 65508: give a number from 1 to 65507'],
    [[...FROM, ...TO, '--timeout', '5m'], 'give a duration from 100ms to 1m'],
    [['--pid', '-1', ...TO], "Option '--pid' argument is ambiguous"],
    [['--pid', '0', ...TO], '--pid 0: give a number from 1'],
    [[...FROM, ...TO, '-o', 'xml'], '-o xml: give json or text'],
  ])('%j', (args, message) => {
    expect(() => parseReach(args)).toThrow(message);
  });

  it('with defaults', () => {
    expect(parseReach([...FROM, ...TO])).toMatchObject({
      from: { kind: 'pod', namespace: 'shop', pod: 'cart-0' },
      protocol: 'tcp',
      timeoutMs: 4_000,
      peers: [],
      output: 'text',
    });
  });
});
