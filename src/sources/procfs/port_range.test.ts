import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DEFAULT_PORT_RANGE, readPortRange } from './port_range.ts';

let proc: string;

beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), 'port-range-'));
});
afterEach(() => rmSync(proc, { recursive: true }));

it.each([
  ['32768\t60999\n', { first: 32_768, last: 60_999 }],
  ['1024\t65535\n', { first: 1_024, last: 65_535 }],
  ['', DEFAULT_PORT_RANGE],
  ['60999\t32768\n', DEFAULT_PORT_RANGE],
  ['0\t70000\n', DEFAULT_PORT_RANGE],
  ['32768', DEFAULT_PORT_RANGE],
])('%j is %j', (text, range) => {
  const folder = join(proc, 'sys/net/ipv4');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'ip_local_port_range'), text);
  expect(readPortRange(proc)).toEqual(range);
});

it('is the default of kernels if there is no such file, or it holds no range', () => {
  expect(readPortRange(proc)).toEqual(DEFAULT_PORT_RANGE);
  mkdirSync(join(proc, 'sys/net/ipv4/ip_local_port_range'), { recursive: true });
  expect(readPortRange(proc)).toEqual(DEFAULT_PORT_RANGE);
});
