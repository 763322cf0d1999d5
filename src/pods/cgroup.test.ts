import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cgroupsOf, isOwnerName, parseCgroup } from './cgroup.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const UNDERSCORED = UID.replaceAll('-', '_');
const ID = 'ab'.repeat(32);
const INNER = 'cd'.repeat(32);
const STATIC = '0123456789abcdef0123456789abcdef';

describe('parseCgroup', () => {
  it.each([
    ['cgroupfs', `/kubepods/besteffort/pod${UID}/${ID}`, { podUid: UID, containerId: ID }],
    ['cgroupfs, guaranteed', `/kubepods/pod${UID}/${ID}`, { podUid: UID, containerId: ID }],
    [
      'systemd, containerd',
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UNDERSCORED}.slice/cri-containerd-${ID}.scope`,
      { podUid: UID, containerId: ID },
    ],
    [
      'systemd, CRI-O',
      `/kubepods.slice/kubepods-pod${UNDERSCORED}.slice/crio-${ID}.scope`,
      { podUid: UID, containerId: ID },
    ],
    [
      'systemd with a prefix',
      `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UNDERSCORED}.slice/cri-containerd-${ID}.scope`,
      { podUid: UID, containerId: ID },
    ],
    ['from inside a cgroup namespace', `/../../pod${UID}/${ID}`, { podUid: UID, containerId: ID }],
    ['a static Pod', `/kubepods/burstable/pod${STATIC}/${ID}`, { podUid: STATIC, containerId: ID }],
    ['docker, systemd', `/system.slice/docker-${ID}.scope`, { containerId: ID }],
    ['docker, cgroupfs', `/docker/${ID}`, { containerId: ID }],
    ['podman', `/machine.slice/libpod-${ID}.scope`, { containerId: ID }],
    ['below the container', `/kubepods/pod${UID}/${ID}/init.scope/worker`, { podUid: UID, containerId: ID }],
    ['a container in a Pod’s container', `/kubepods/pod${UID}/${ID}/docker/${INNER}`, { containerId: INNER }],
    ['the Pod itself', `/kubepods/pod${UID}`, { podUid: UID }],
  ])('%s', (_, path, expected) => {
    expect(parseCgroup(`0::${path}\n`)).toEqual(expected);
  });

  it('finds the one hierarchy of v1 that tells', () => {
    const text = `12:cpu,cpuacct:/\n11:name=systemd:/user.slice\n4:memory:/docker/${ID}\n0::/\n`;
    expect(parseCgroup(text)).toEqual({ containerId: ID });
  });

  it.each([
    '',
    '0::/\n',
    '0::/user.slice/user-1000.slice\n',
    '0::/podinfo.slice\n',
    `0::/abc${ID}\n`,
    '4:memory:/process_api/0123\n',
    'garbage',
  ])('finds none in %j', (text) => expect(parseCgroup(text)).toBeUndefined());
});

describe('cgroupsOf', () => {
  it('gives the cgroup of the whole Pod, in each hierarchy that has it', () => {
    const text = `9:name=systemd:/\n8:cpu,cpuacct:/kubepods/pod${UID}/${ID}\n0::/kubepods/pod${UID}/${ID}/init.scope\n`;
    expect(cgroupsOf(text, UID)).toEqual([
      { hierarchy: 'cpu,cpuacct', path: `/kubepods/pod${UID}` },
      { hierarchy: '', path: `/kubepods/pod${UID}` },
    ]);
  });

  it('knows the Pod by its name for systemd, and keeps the way out of a cgroup namespace', () => {
    const slice = `kubepods-burstable-pod${UNDERSCORED}.slice`;
    expect(cgroupsOf(`0::/../../${slice}/cri-containerd-${ID}.scope\n`, UID)).toEqual([
      { hierarchy: '', path: `/../../${slice}` },
    ]);
  });

  it('gives the cgroup of a container that is in no Pod, or in another container', () => {
    expect(cgroupsOf(`4:memory:/docker/${ID}/app\n`, ID)).toEqual([{ hierarchy: 'memory', path: `/docker/${ID}` }]);
    const inner = `0::/kubepods/pod${UID}/${ID}/docker/${INNER}\n`;
    expect(cgroupsOf(inner, INNER)).toEqual([{ hierarchy: '', path: `/kubepods/pod${UID}/${ID}/docker/${INNER}` }]);
    expect(cgroupsOf(inner, UID)).toEqual([]);
  });

  it('takes a path with colons whole', () => {
    expect(cgroupsOf(`0::/a:b/pod${UID}\n`, UID)).toEqual([{ hierarchy: '', path: `/a:b/pod${UID}` }]);
  });

  it('gives nothing of another Pod, of garbage, or of a text that is cut', () => {
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
  ['kubepods', false],
  ['system.slice', false],
])('isOwnerName(%j)', (name, expected) => expect(isOwnerName(name)).toBe(expected));
