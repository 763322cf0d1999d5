import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cgroupsOf, isOwnerName, parseCgroup } from './cgroup.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const UNDERSCORED = UID.replaceAll('-', '_');
const ID = 'ab'.repeat(32);
const INNER = 'cd'.repeat(32);
const THIRD = 'ef'.repeat(32);
const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';
const STATIC = '0123456789abcdef0123456789abcdef';

const POD = { podUid: UID, containerId: ID };
const SLICE = `kubepods-burstable-pod${UNDERSCORED}.slice`;
const SLICES = `/kubepods.slice/kubepods-burstable.slice/${SLICE}`;

/** Cgroup paths that kubelets, container runtimes, systemd and other software create. */
const LAYOUTS: readonly (readonly [name: string, path: string, expected: object])[] = [
  // Pods, as created by the kubelet's two cgroup drivers.
  ['cgroupfs', `/kubepods/besteffort/pod${UID}/${ID}`, POD],
  ['cgroupfs, guaranteed', `/kubepods/pod${UID}/${ID}`, POD],
  ['systemd, containerd', `${SLICES}/cri-containerd-${ID}.scope`, POD],
  ['systemd, CRI-O', `/kubepods.slice/kubepods-pod${UNDERSCORED}.slice/crio-${ID}.scope`, POD],
  ['systemd, CRI-O and crun', `${SLICES}/crio-${ID}.scope/container`, POD],
  ['systemd, conmon of CRI-O', `${SLICES}/crio-conmon-${ID}.scope`, POD],
  ['systemd, Docker', `${SLICES}/docker-${ID}.scope`, POD],
  ['a folder of the kubelet', `/kubelet/kubepods/burstable/pod${UID}/${ID}`, POD],
  [
    'a slice of the kubelet',
    `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UNDERSCORED}.slice/cri-containerd-${ID}.scope`,
    POD,
  ],
  ['slices for a runtime that makes folders', `/system.slice/containerd.service/${SLICE}:cri-containerd:${ID}`, POD],
  ['the same of CRI-O', `/system.slice/crio.service/${SLICE}:crio:${ID}`, POD],
  [
    'the same of a static Pod',
    `/system.slice/k3s.service/kubepods-pod${STATIC}.slice:cri-containerd:${ID}`,
    { podUid: STATIC, containerId: ID },
  ],
  ['a static Pod', `/kubepods/burstable/pod${STATIC}/${ID}`, { podUid: STATIC, containerId: ID }],
  [
    'a static Pod, systemd',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${STATIC}.slice/crio-${ID}.scope`,
    { podUid: STATIC, containerId: ID },
  ],
  ['the Pod itself', `/kubepods/pod${UID}`, { podUid: UID }],
  ['the Pod itself, systemd', SLICES, { podUid: UID }],
  // Pods whose sandboxes are virtual machines.
  ['Kata, all in the Pod', `/kubepods/besteffort/pod${UID}/kata_${ID}`, POD],
  ['Kata, its own folder', `/kata_overhead/${ID}`, { containerId: ID }],
  ['gVisor', `/kubepods/pod${UID}/${ID}`, POD],
  // Paths as seen from inside a cgroup namespace.
  ['a neighbour', `/../../pod${UID}/${ID}`, POD],
  ['a neighbour, systemd', `/../../${SLICE}/cri-containerd-${ID}.scope`, POD],
  // Cgroups that were created inside a container, and belong to it.
  ['below the container', `/kubepods/pod${UID}/${ID}/init.scope/worker`, POD],
  ['Docker in a Pod', `${SLICES}/cri-containerd-${ID}.scope/docker/${INNER}`, POD],
  ['Docker in a Pod, systemd', `/kubepods/pod${UID}/${ID}/system.slice/docker-${INNER}.scope`, POD],
  ['podman in a Pod', `/kubepods/pod${UID}/${ID}/machine.slice/libpod-${INNER}.scope`, POD],
  ['systemd in a Pod', `${SLICES}/cri-containerd-${ID}.scope/user.slice/user-0.slice`, POD],
  ['a cluster in a Pod', `/kubepods/pod${UID}/${ID}/docker/${INNER}/kubelet/kubepods/pod${OTHER}/${THIRD}`, POD],
  ['a look-alike in a container', `/kubepods/pod${UID}/${ID}/pod${OTHER}/${INNER}`, POD],
  ['a whole look-alike', `/kubepods/pod${UID}/${ID}/kubepods/burstable/pod${OTHER}/${INNER}`, POD],
  ['a look-alike in slices', `${SLICES}/cri-containerd-${ID}.scope/kubepods-pod${OTHER}.slice:x:${INNER}`, POD],
  ['a look-alike in the Pod', `/kubepods/pod${UID}/pod${OTHER}/${INNER}`, { podUid: UID, containerId: INNER }],
  // Containers that do not belong to a Pod.
  ['Docker, systemd', `/system.slice/docker-${ID}.scope`, { containerId: ID }],
  ['Docker, cgroupfs', `/docker/${ID}`, { containerId: ID }],
  ['Docker, slices for folders', `/system.slice:docker:${ID}`, { containerId: ID }],
  ['podman', `/machine.slice/libpod-${ID}.scope`, { containerId: ID }],
  [
    'podman, in a Pod of its own',
    `/machine.slice/machine-libpod_pod_${INNER}.slice/libpod-${ID}.scope`,
    { containerId: ID },
  ],
  ['Docker in Docker', `/docker/${ID}/docker/${INNER}`, { containerId: ID }],
  // Pods in a cgroup that belongs to none of this node's kubelets.
  [
    'kind, from its machine',
    `/docker/${ID}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UNDERSCORED}.slice/cri-containerd-${INNER}.scope`,
    { podUid: UID, containerId: INNER, within: ID },
  ],
  [
    'k3d, from its machine',
    `/system.slice/docker-${ID}.scope/kubepods/besteffort/pod${UID}/${INNER}`,
    { podUid: UID, containerId: INNER, within: ID },
  ],
  [
    'kind in rootless podman',
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/kubelet/kubepods/pod${UID}/${INNER}`,
    { podUid: UID, containerId: INNER, within: ID },
  ],
  [
    'a look-alike of a user',
    `/user.slice/user-1000.slice/user@1000.service/pod${UID}/${ID}`,
    { podUid: UID, containerId: ID, within: '' },
  ],
  [
    'a look-alike of a machine',
    `/machine.slice/systemd-nspawn@x.service/payload/kubepods/pod${UID}/${ID}`,
    { podUid: UID, containerId: ID, within: '' },
  ],
];

describe('parseCgroup', () => {
  it.each(LAYOUTS)('%s', (_, path, expected) => {
    expect(parseCgroup(`0::${path}\n`)).toEqual(expected);
    // In the v1 and hybrid layouts, paths in other hierarchies do not identify the Pod.
    expect(parseCgroup(`9:cpu,cpuacct:${path}\n`)).toEqual(expected);
    expect(parseCgroup(`11:name=systemd:/\n4:memory:${path}\n0::/system.slice/containerd.service\n`)).toEqual(expected);
  });

  it('prefers v2 if v1 says something else', () => {
    expect(parseCgroup(`4:memory:/docker/${ID}\n0::/kubepods/pod${UID}/${INNER}\n`)).toMatchObject({ podUid: UID });
  });

  it('finds the one hierarchy of v1 that names the container', () => {
    const text = `12:cpu,cpuacct:/\n11:name=systemd:/user.slice\n4:memory:/docker/${ID}\n0::/\n`;
    expect(parseCgroup(text)).toEqual({ containerId: ID });
  });

  it.each([
    '',
    '0::/\n',
    '0::/user.slice/user-1000.slice\n',
    '0::/podinfo.slice\n',
    `0::/abc${ID}\n`,
    `0::/pod${UID}x/a\n`,
    `0::/xpod${UID}\n`,
    `0::/machine-libpod_pod_${ID}.slice\n`,
    `0::/pod${UID}.scope\n`,
    '4:memory:/process_api/0123\n',
    'garbage',
  ])('finds none in %j', (text) => expect(parseCgroup(text)).toBeUndefined());
});

describe('cgroupsOf', () => {
  it('returns the cgroup of the whole Pod, in each hierarchy that has it', () => {
    const text = `9:name=systemd:/\n8:cpu,cpuacct:/kubepods/pod${UID}/${ID}\n0::/kubepods/pod${UID}/${ID}/init.scope\n`;
    expect(cgroupsOf(text, UID)).toEqual([
      { hierarchy: '', path: `/kubepods/pod${UID}` },
      { hierarchy: 'cpu,cpuacct', path: `/kubepods/pod${UID}` },
    ]);
  });

  it('knows the Pod by its name for systemd, and keeps the way out of a cgroup namespace', () => {
    const slice = `kubepods-burstable-pod${UNDERSCORED}.slice`;
    expect(cgroupsOf(`0::/../../${slice}/cri-containerd-${ID}.scope\n`, UID)).toEqual([
      { hierarchy: '', path: `/../../${slice}` },
    ]);
  });

  it('returns the cgroup of a container that is in no Pod, and the outermost of several', () => {
    expect(cgroupsOf(`4:memory:/docker/${ID}/app\n`, ID)).toEqual([{ hierarchy: 'memory', path: `/docker/${ID}` }]);
    const inner = `0::/kubepods/pod${UID}/${ID}/docker/${INNER}\n`;
    expect(cgroupsOf(inner, UID)).toEqual([{ hierarchy: '', path: `/kubepods/pod${UID}` }]);
    for (const id of [ID, INNER]) expect(cgroupsOf(inner, id)).toEqual([]);
    const nested = `0::/docker/${ID}/kubepods/pod${UID}/${INNER}\n`;
    expect(cgroupsOf(nested, ID)).toEqual([{ hierarchy: '', path: `/docker/${ID}` }]);
    expect(cgroupsOf(nested, UID)).toEqual([{ hierarchy: '', path: `/docker/${ID}/kubepods/pod${UID}` }]);
  });

  it('accepts a path with colons', () => {
    expect(cgroupsOf(`0::/a:b/pod${UID}\n`, UID)).toEqual([{ hierarchy: '', path: `/a:b/pod${UID}` }]);
  });

  it('returns nothing for another Pod, malformed text, or text that is cut short', () => {
    const text = `0::/kubepods/pod${UID}`;
    expect(cgroupsOf(text, STATIC)).toEqual([]);
    for (let length = 0; length < text.length; length++) expect(cgroupsOf(text.slice(0, length), UID)).toEqual([]);
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (garbage) => cgroupsOf(garbage, UID).length === 0));
  });
});

it.each([
  [`pod${UID}`, true],
  [`kubepods-pod${UNDERSCORED}.slice`, true],
  [`crio-${ID}.scope`, true],
  [ID, true],
  [`kata_${ID}`, true],
  [`kubepods-pod${UNDERSCORED}.slice:cri-containerd:${ID}`, true],
  ['kubepods', false],
  ['system.slice', false],
])('isOwnerName(%j)', (name, expected) => expect(isOwnerName(name)).toBe(expected));
