import { describe, expect, it } from 'vitest';
import { parseEnd, parsePod, parseTarget } from './question.ts';

const shown = (text: string) => {
  const { end, port, protocol } = parseTarget(text, '--to');
  return `${end.kind === 'pod' ? `${end.namespace}/${end.name}` : end.address.text} ${port} ${protocol}`;
};

describe('ends on the command line', () => {
  it.each([
    ['shop/web:80', 'shop/web 80 TCP'],
    ['shop/web-0.x:65535/udp', 'shop/web-0.x 65535 UDP'],
    ['shop/web:80/SCTP', 'shop/web 80 SCTP'],
    ['10.0.0.1:53/udp', '10.0.0.1 53 UDP'],
    ['[FD00::1]:53', 'fd00::1 53 TCP'],
  ])('--to %s', (text, expected) => expect(shown(text)).toBe(expected));

  it.each([
    '',
    'shop/web',
    'shop/web:',
    'shop/web:0',
    'shop/web:65536',
    'shop/web:http',
    'shop/web:80/icmp',
    'web:80',
    'a/b/c:80',
    'fd00::1',
    'fd00::1:53',
    'shop/../x:80',
    'Shop/web:80',
    'shop/web\n:80',
    '/web:80',
  ])('--to %j is refused', (text) => expect(() => parseTarget(text, '--to')).toThrow(/^--to .*give NAMESPACE\/POD/s));

  it('--from', () => {
    expect(parseEnd('shop/web', '--from')).toEqual({ kind: 'pod', namespace: 'shop', name: 'web' });
    expect(parseEnd('fd00::1', '--from')).toMatchObject({ kind: 'address', address: { text: 'fd00::1' } });
    expect(() => parseEnd('web', '--from')).toThrow('--from web: give NAMESPACE/POD, like shop/web-0, or an address');
    expect(() => parsePod('10.0.0.1', '--pod')).toThrow('--pod 10.0.0.1: give NAMESPACE/POD');
  });
});
