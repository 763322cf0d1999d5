import { expect, it } from 'vitest';
import { whatToEnable } from './enabling.ts';

it('says what to switch on, and why a probe cannot run', () => {
  const [http, dns] = whatToEnable([
    { name: 'dns', state: 'unsupported', reason: 'attaching needs CAP_NET_ADMIN' },
    { name: 'http', state: 'stopped', reason: '' },
  ]);
  expect(http).toContain('probes: { http: { enabled: true } }');
  expect(dns).toBe('Requests of DNS are not counted: the probe dns is unsupported: attaching needs CAP_NET_ADMIN.');
  expect(whatToEnable([])).toHaveLength(2);
});

it('says nothing about a probe that runs', () => {
  const running = (name: string) => ({ name, state: 'running', reason: '' }) as const;
  expect(whatToEnable([running('http'), running('dns')])).toEqual([]);
});
