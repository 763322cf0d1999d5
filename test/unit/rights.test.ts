import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { endpointSlices, nodesOf, remotePods, SERVICES } from '#kubernetes/cluster_objects.ts';
import { configMap, ownNode, podsOf } from '#kubernetes/objects.ts';
import { CLUSTER_POLICIES, NETWORK_POLICIES } from '#kubernetes/policy_resources.ts';
import { SECCOMP_PROFILE } from '../../scripts/seccomp_profile.ts';
import { kustomize } from '../support/kustomize.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

function manifests(...components: readonly string[]) {
  const folders = components.map((name) => join(PROJECT, 'manifests/components', name));
  return kustomize(join(PROJECT, 'manifests/base'), folders);
}

interface Rule {
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** Returns the granted permissions, such as `pods list`. */
function granted(...components: readonly string[]): string[] {
  const rules = manifests(...components).flatMap(({ rules: own }) => (own ?? []) as Rule[]);
  return rules.flatMap(({ resources, verbs }) => resources.flatMap((name) => verbs.map((verb) => `${name} ${verb}`)));
}

describe('rights at the API', () => {
  const all = granted('configmap-api', 'policies').sort();

  it('are those of the agent’s requests, and no others', () => {
    const watched = [
      podsOf('n'),
      ownNode('n'),
      nodesOf('table', true),
      remotePods('table', 'n'),
      SERVICES,
      endpointSlices('n'),
      configMap('a', 'b', 'c'),
    ];
    const resources = new Set(watched.map(({ path }) => path.split('/').at(-1) ?? ''));
    const asked = [...resources].flatMap((name) => [`${name} list`, `${name} watch`]);
    const policies = [NETWORK_POLICIES, ...CLUSTER_POLICIES].map(({ name }) => `${name} list`);
    asked.push(...policies, 'pods get', 'namespaces get');
    // `reportRejection` creates Kubernetes Events without the list functions that `asked` contains.
    expect([...asked, 'events create'].sort()).toEqual(all);
  });

  it('equal those of the document, row by row', () => {
    const text = readFileSync(join(PROJECT, 'docs/kubernetes.md'), 'utf8');
    const [, section = ''] = text.split('## What the service account needs');
    const rows = section.split('\n').filter((line) => line.startsWith('| `'));
    const documented = rows.flatMap((row) => {
      const [, resources = '', verbs = ''] = row.split('|');
      const words = (cell: string) => [...cell.matchAll(/`([a-z]+)`/g)].map(([, word = '']) => word);
      return words(resources).flatMap((name) => words(verbs).map((verb) => `${name} ${verb}`));
    });
    expect(documented.sort()).toEqual(all);
  });

  it('without a component cover only names and addresses', () => {
    const resources = ['endpointslices', 'nodes', 'pods', 'services'];
    expect(granted().sort()).toEqual(resources.flatMap((name) => [`${name} list`, `${name} watch`]));
  });
});

it('the API groups of the rights to policies are those of the requests', () => {
  const rules = manifests('policies').flatMap(({ rules: own }) => (own ?? []) as (Rule & { apiGroups: string[] })[]);
  for (const { name, group } of [NETWORK_POLICIES, ...CLUSTER_POLICIES]) {
    const rule = rules.find(({ resources }) => resources.includes(name));
    expect(rule).toMatchObject({ apiGroups: [group], verbs: ['list'] });
  }
});

describe('the seccomp profile', () => {
  const file = JSON.parse(readFileSync(join(PROJECT, 'manifests/seccomp/netsonde.json'), 'utf8'));
  const { names } = SECCOMP_PROFILE.syscalls[0] ?? { names: [] };

  it('equals the generated one, refuses all other calls, and allows no dangerous ones', () => {
    expect(file).toEqual(SECCOMP_PROFILE);
    expect(file.defaultAction).toBe('SCMP_ACT_ERRNO');
    expect(names).toEqual(expect.arrayContaining(['bpf', 'perf_event_open', 'setns', 'execve']));
    const dangerous = [
      'ptrace',
      'process_vm_readv',
      'process_vm_writev',
      'mount',
      'umount2',
      'pivot_root',
      'chroot',
      'unshare',
    ];
    dangerous.push(
      'init_module',
      'finit_module',
      'delete_module',
      'kexec_load',
      'reboot',
      'keyctl',
      'add_key',
      'io_uring_setup',
    );
    dangerous.push(
      'open_by_handle_at',
      'userfaultfd',
      'personality',
      'iopl',
      'ioperm',
      'swapon',
      'settimeofday',
      'clock_settime',
    );
    for (const name of dangerous) expect(names).not.toContain(name);
  });

  it('is named in the component as the document installs it', () => {
    const daemonSet = JSON.stringify(manifests('seccomp').find(({ kind }) => kind === 'DaemonSet'));
    expect(daemonSet).toContain('"seccompProfile":{"type":"Localhost","localhostProfile":"netsonde.json"}');
    const text = readFileSync(join(PROJECT, 'docs/capabilities.md'), 'utf8');
    expect(text).toContain('/var/lib/kubelet/seccomp/netsonde.json');
    for (const name of names) expect(text).toContain(`\`${name}\``);
  });
});
