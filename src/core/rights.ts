/** Capabilities that the kernel may ask the agent for (man 7 capabilities), without their `CAP_`. */
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
  /** Kustomize component and chart value; `default` is what the base has. */
  readonly name: 'default' | 'packets' | 'processes' | 'tools';
  /** The capabilities that the set adds to those of `default`. */
  readonly adds: readonly CapabilityName[];
  /** What the set brings, as a phrase. */
  readonly brings: string;
}

/** Every set of rights: manifests, chart and docs/capabilities.md are made from it or held against it. */
export const RIGHTS: readonly RightsSet[] = [
  {
    name: 'default',
    adds: ['BPF', 'PERFMON'],
    brings: 'every probe that is on by default, without a warning',
  },
  {
    name: 'packets',
    adds: ['NET_ADMIN'],
    brings: 'programs attached to cgroups and tc, look-ups in connection tracking',
  },
  {
    name: 'processes',
    adds: ['SYS_PTRACE', 'DAC_READ_SEARCH', 'SYS_ADMIN'],
    brings:
      'what processes have open, and other network namespaces entered: `fd`, `io`, `qdisc`, `conntrack` where it is a module, with `packets` also its `states`',
  },
  {
    name: 'tools',
    adds: ['SYS_ADMIN', 'SYS_PTRACE', 'NET_RAW', 'NET_ADMIN'],
    brings: 'commands that enter a Pod’s network, in a container of their own: the agent’s rights stay as they are',
  },
];

/** The sets of the agent itself: `tools` belongs to another container. */
export const AGENT_RIGHTS = RIGHTS.filter(({ name }) => name !== 'tools');

/** Capabilities of the agent with these sets, each once, in the order of the sets. */
export function capabilitiesOf(names: readonly RightsSet['name'][]): CapabilityName[] {
  return [
    ...new Set(RIGHTS.filter(({ name }) => name === 'default' || names.includes(name)).flatMap(({ adds }) => adds)),
  ];
}

/** Names the smallest choice of sets beside `default` that has all of these capabilities; undefined where none has. */
export function rightsFor(capabilities: readonly string[]): string[] | undefined {
  const wanted = capabilities.map((capability) => capability.replace(/^CAP_/, ''));
  const granted = (names: readonly string[]) => new Set<string>(capabilitiesOf(names as RightsSet['name'][]));
  const choices = [[], ['packets'], ['processes'], ['packets', 'processes']];
  return choices.find((names) => wanted.every((capability) => granted(names).has(capability)));
}
