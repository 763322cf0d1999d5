import { expect, it } from 'vitest';
import { desiredProbes } from '#agent/desired_kernel.ts';
import { ConfigReader } from '#config/load.ts';
import { probesWith } from './enabled_probes.ts';

const enabledBy = (names: readonly string[], document: string) =>
  Object.keys(desiredProbes(new ConfigReader(probesWith(names)).parse(document)));

it('enables probes that the configuration does not disable', () => {
  expect(enabledBy([], '{}')).not.toContain('dns');
  expect(enabledBy(['dns'], '{}')).toEqual(expect.arrayContaining(['dns', 'tcp']));
  expect(enabledBy(['dns,http', 'udpflow'], '{}')).toEqual(expect.arrayContaining(['dns', 'http', 'udpflow']));
  expect(enabledBy(['dns'], 'probes: { dns: { timeout: 2s } }')).toContain('dns');
  expect(enabledBy(['dns'], 'probes: { dns: { enabled: false } }')).not.toContain('dns');
  expect(enabledBy(['dns'], 'probes: { dns: false }')).not.toContain('dns');
});

it('refuses names that are no probes', () => {
  expect(() => probesWith(['dsn'])).toThrow('--enable dsn: there is no such probe');
});
