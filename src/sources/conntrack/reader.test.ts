import { BpfError } from 'bpf-napi';
import { expect, it } from 'vitest';
import { Unsupported } from '#core/reader.ts';
import { explainRefusal } from './reader.ts';

const EPERM = 1;
const ENOBUFS = 105;

const failure = (errno: number) => new BpfError('NETLINK', 'dump netlink', { errno });

it.each([
  ['no such subsystem of netfilter’s netlink', 22],
  ['no such request', 95],
  ['no netfilter in netlink', 93],
])('says what is missing: %s', (_, errno) => {
  expect(explainRefusal(failure(errno), true)).toMatch(/connection tracking cannot be queried because ctnetlink/);
  expect(explainRefusal(failure(errno), false)).toMatch(/does not track connections/);
});

it('distinguishes a missing capability from a missing kernel', () => {
  expect(explainRefusal(failure(EPERM), true)).toMatch(/CAP_NET_ADMIN/);
  expect(explainRefusal(new Unsupported('entering needs CAP_SYS_ADMIN'), true)).toMatch(/CAP_SYS_ADMIN/);
});

it('does not treat a transient error as permanent', () => {
  expect(() => explainRefusal(failure(ENOBUFS), true)).toThrow(BpfError);
  expect(() => explainRefusal(new TypeError('x'), true)).toThrow(TypeError);
});
