/** Capabilities that the kernel may require of the agent (man 7 capabilities), without the prefix `CAP_`. */
export type CapabilityName =
  | 'BPF'
  | 'PERFMON'
  | 'NET_ADMIN'
  | 'NET_RAW'
  | 'SYS_PTRACE'
  | 'DAC_READ_SEARCH'
  | 'SYS_ADMIN'
  | 'SYS_RESOURCE';

/** Rights that an operator grants together. */
export interface RightsSet {
  /** Name of the Kustomize component and the chart value; `default` is the set of the base. */
  readonly name: 'default' | 'packets' | 'processes' | 'tools';
  /** Capabilities that the set adds to those of `default`. */
  readonly adds: readonly CapabilityName[];
  /** Benefit of the set, as a phrase. */
  readonly brings: string;
}

/** All sets of rights: manifests, chart and docs/capabilities.md are generated from them or checked against them. */
export const RIGHTS: readonly RightsSet[] = [
  {
    name: 'default',
    adds: ['BPF', 'PERFMON'],
    brings: 'every probe that is on by default, without a warning',
  },
  {
    name: 'packets',
    adds: ['NET_ADMIN'],
    brings: 'programs attached to cgroups and tc, look-ups in connection tracking, changes of nftables in `changes`',
  },
  {
    name: 'processes',
    adds: ['SYS_PTRACE', 'DAC_READ_SEARCH', 'SYS_ADMIN'],
    brings:
      'open files of processes, and access to other network namespaces: `fd`, `io`, `qdisc`, `conntrack` where it is a module, with `packets` also its `states`',
  },
  {
    name: 'tools',
    adds: ['SYS_ADMIN', 'SYS_PTRACE', 'NET_RAW', 'NET_ADMIN'],
    brings: 'commands that enter a Pod’s network, in a container of their own: the agent’s rights stay as they are',
  },
];

/** Sets of the agent itself: `tools` belongs to another container. */
export const AGENT_RIGHTS = RIGHTS.filter(({ name }) => name !== 'tools');

/** Returns the capabilities of the agent with these sets, each once, in the order of the sets. */
export function capabilitiesOf(names: readonly RightsSet['name'][]): CapabilityName[] {
  return [
    ...new Set(RIGHTS.filter(({ name }) => name === 'default' || names.includes(name)).flatMap(({ adds }) => adds)),
  ];
}

/** Returns the names of the smallest choice of sets beside `default` that has all of these capabilities; undefined where none has. */
export function rightsFor(capabilities: readonly string[]): string[] | undefined {
  const wanted = capabilities.map((capability) => capability.replace(/^CAP_/, ''));
  const granted = (names: readonly string[]) => new Set<string>(capabilitiesOf(names as RightsSet['name'][]));
  const choices = [[], ['packets'], ['processes'], ['packets', 'processes']];
  return choices.find((names) => wanted.every((capability) => granted(names).has(capability)));
}
