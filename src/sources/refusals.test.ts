import { describe, expect, it } from 'vitest';
import { describeRefusal } from './refusals.ts';

describe('the refusal of a system call', () => {
  it('names the filter, if there is one, and the remedy', () => {
    expect(describeRefusal('bpf', 'NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n')).toMatch(
      /^a filter of system calls \(seccomp\) refuses bpf: .*manifests\/seccomp\/netsonde.json/,
    );
  });

  it('names a security module otherwise', () => {
    expect(describeRefusal('socket(AF_NETLINK)', 'Seccomp:\t0\n')).toBe(
      'a security module (AppArmor, SELinux) refuses socket(AF_NETLINK)',
    );
  });
});
