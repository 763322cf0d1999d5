import { describe, expect, it } from 'vitest';
import { parseCgroup } from './cgroup.ts';

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
