import { BpfError } from 'bpf-napi';
import { describe, expect, it } from 'vitest';
import { asUnsupported } from './source.ts';

function refusal(message: string): BpfError {
  return new BpfError('BPF_VERIFIER', message, {
    operation: 'load',
    subject: 'mib.bpf.o',
    errno: 22,
    log: '',
    cause: undefined,
  });
}

const NO_READS = refusal('mib.bpf.o: program of this type cannot use helper bpf_probe_read#4');

describe('a program that may not read kernel memory', () => {
  it.each(['none integrity [confidentiality]\n', undefined])('names the lockdown and what to do: %j', (lockdown) => {
    expect((asUnsupported(NO_READS, lockdown, '') as Error).message).toMatch(
      /bpf_probe_read#4: BPF programs cannot read .* the kernel is locked down \(lockdown=confidentiality\).*lockdown=integrity$/,
    );
  });

  it('does not mention the lockdown if there is none', () => {
    expect((asUnsupported(NO_READS, '[none] integrity confidentiality\n', '') as Error).message).not.toContain(
      'locked',
    );
    const other = refusal('mib.bpf.o: R1 type=scalar expected=fp');
    expect((asUnsupported(other, 'none integrity [confidentiality]\n', '') as Error).message).not.toContain('locked');
  });

  it('names the capability that is missing, and only where that is why', () => {
    const missing = 'CAP_PERFMON is missing';
    expect((asUnsupported(NO_READS, undefined, missing) as Error).message).toMatch(
      /bpf_probe_read#4: CAP_PERFMON is missing$/,
    );
    const arithmetic = refusal('l7.bpf.o: R1 pointer arithmetic with it prohibited for !root');
    expect((asUnsupported(arithmetic, undefined, missing) as Error).message).toMatch(/: CAP_PERFMON is missing$/);
    const other = refusal('mib.bpf.o: R1 type=scalar expected=fp');
    expect((asUnsupported(other, undefined, missing) as Error).message).not.toContain('CAP_PERFMON');
  });
});
