/** Capabilities that the agent may need (man 7 capabilities), without the prefix `CAP_`. */
export type CapabilityName =
  | 'BPF'
  | 'PERFMON'
  | 'NET_ADMIN'
  | 'NET_RAW'
  | 'SYS_PTRACE'
  | 'DAC_READ_SEARCH'
  | 'SYS_ADMIN'
  | 'SYS_RESOURCE';

/** A set of capabilities that an operator grants together. */
export interface RightsSet {
  /** Name of the Kustomize component and the chart value. `default` is the set that the base manifests grant. */
  readonly name: 'default' | 'packets' | 'processes' | 'tools';
  /** Capabilities that the set grants in addition to the set `default`. */
  readonly adds: readonly CapabilityName[];
  /** Features that the set enables, as a phrase for the documentation. */
  readonly brings: string;
}

/**
 * All sets. The manifests, the chart and docs/capabilities.md are either generated from them or checked against them.
 */
export const RIGHTS: readonly RightsSet[] = [
  {
    name: 'default',
    adds: ['BPF', 'PERFMON'],
    brings: 'every probe that is on by default, without a warning',
  },
  {
    name: 'packets',
    adds: ['NET_ADMIN'],
    brings:
      'BPF programs on cgroups and tc, the peers behind NAT in `flow`, and the nftables changes of the probe `changes`',
  },
  {
    name: 'processes',
    adds: ['SYS_PTRACE', 'DAC_READ_SEARCH', 'SYS_ADMIN'],
    brings:
      'the probes `fd`, `io` and `qdisc`, and `conntrack` if nf_conntrack is a module; together with `packets`, also its option `states`. These read open files of processes and enter other network namespaces',
  },
  {
    name: 'tools',
    adds: ['SYS_ADMIN', 'SYS_PTRACE', 'NET_RAW', 'NET_ADMIN'],
    brings:
      'commands that enter a Pod’s network. They run in a separate container, so the agent’s own capabilities do not change',
  },
];

/** The sets that the agent itself can have. `tools` is for a separate container. */
export const AGENT_RIGHTS = RIGHTS.filter(({ name }) => name !== 'tools');

/** Returns the capabilities of an agent that has the given sets in addition to `default`, without duplicates. */
export function capabilitiesOf(names: readonly RightsSet['name'][]): CapabilityName[] {
  return [
    ...new Set(RIGHTS.filter(({ name }) => name === 'default' || names.includes(name)).flatMap(({ adds }) => adds)),
  ];
}

/**
 * Returns the smallest combination of sets that grants all of the given capabilities in addition to `default`;
 * undefined if no combination does.
 */
export function rightsFor(capabilities: readonly string[]): string[] | undefined {
  const wanted = capabilities.map((capability) => capability.replace(/^CAP_/, ''));
  const granted = (names: readonly string[]) => new Set<string>(capabilitiesOf(names as RightsSet['name'][]));
  const choices = [[], ['packets'], ['processes'], ['packets', 'processes']];
  return choices.find((names) => wanted.every((capability) => granted(names).has(capability)));
}
