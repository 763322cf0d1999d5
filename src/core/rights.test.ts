import { describe, expect, it } from 'vitest';
import { capabilitiesOf, RIGHTS, rightsFor } from './rights.ts';

describe('sets of rights', () => {
  it('add only capabilities that the default does not have', () => {
    const [base, ...more] = RIGHTS;
    expect(base?.adds).toEqual(['BPF', 'PERFMON']);
    for (const { adds } of more) expect(adds.filter((capability) => base?.adds.includes(capability))).toEqual([]);
  });

  it('are joined without a capability twice', () => {
    expect(capabilitiesOf([])).toEqual(['BPF', 'PERFMON']);
    expect(capabilitiesOf(['packets', 'processes'])).toEqual([
      ...['BPF', 'PERFMON', 'NET_ADMIN', 'SYS_PTRACE', 'DAC_READ_SEARCH', 'SYS_ADMIN'],
    ]);
  });

  it.each([
    [['CAP_BPF', 'CAP_PERFMON'], []],
    [['CAP_NET_ADMIN'], ['packets']],
    [['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH'], ['processes']],
    [
      ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN'],
      ['packets', 'processes'],
    ],
    [['CAP_SYS_RESOURCE'], undefined],
  ])('%j is in %j', (capabilities, names) => {
    expect(rightsFor(capabilities)).toEqual(names);
  });
});
