import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type NetlinkBatch, NetlinkSubscription, withNetns } from '../lib/index.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';

const NETLINK_ROUTE = 0;
const RTNLGRP_LINK = 1;
const RTNLGRP_IPV4_IFADDR = 5;
const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const ADDRESSES = 2_000;

const EINVAL = 22;
const EBADF = 9;

/** Script that sends a forged notification to the multicast group for IPv4 addresses. Requires CAP_NET_ADMIN. */
const FORGER = `
import socket, struct
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
link.bind((0, 0))
message = struct.pack("=IHHII", 24, ${RTM_NEWADDR}, 0, 0, 0) + struct.pack("=BBBBI", 2, 32, 0, 0, 4242)
link.sendto(message, (0, 1 << ${RTNLGRP_IPV4_IFADDR - 1}))
print("sent")
`;

interface Received {
  /** Message types in the order of arrival. */
  readonly types: number[];
  readonly batches: { readonly overrun: boolean; readonly drained: boolean; readonly messages: number }[];
  readonly errors: unknown[];
}

function typesOf({ messages }: NetlinkBatch): number[] {
  const view = new DataView(messages.buffer, messages.byteOffset, messages.byteLength);
  const types: number[] = [];
  for (let at = 0; at < messages.length; at += (view.getUint32(at, true) + 3) & ~3) {
    types.push(view.getUint16(at + 4, true));
  }
  return types;
}

let namespace: TestNamespace;
let received: Received;
beforeEach(() => {
  namespace = new TestNamespace();
  received = { types: [], batches: [], errors: [] };
});
afterEach(() => namespace[Symbol.dispose]());

function subscribe(
  groups: readonly number[],
  options: Partial<ConstructorParameters<typeof NetlinkSubscription>[0]> = {},
): NetlinkSubscription {
  return withNetns(
    namespace.path,
    () =>
      new NetlinkSubscription({
        protocol: NETLINK_ROUTE,
        groups,
        queueBytes: 8 << 20,
        bufferBytes: 1 << 17,
        datagramBytesMax: 1 << 16,
        onBatch: (batch) => {
          const types = typesOf(batch);
          received.types.push(...types);
          received.batches.push({ overrun: batch.overrun, drained: batch.drained, messages: types.length });
        },
        onError: (error) => received.errors.push(error),
        ...options,
      }),
  );
}

const addresses = (count: number, verb = 'add') =>
  Array.from({ length: count }, (_, i) => `address ${verb} 10.77.${i >> 8}.${i & 255}/32 dev lo`).join('\n');

/** Waits until the event loop has delivered the notifications. */
const until = (check: () => void) => vi.waitFor(check, { timeout: 10_000, interval: 5 });

describe('a subscription', () => {
  expectNothingLeft();

  it('receives the notifications of its namespace and groups, in order', async () => {
    using elsewhere = new TestNamespace();
    using _ = subscribe([RTNLGRP_IPV4_IFADDR]);
    elsewhere.batch('address add 10.1.0.1/32 dev lo');
    namespace.batch('link set lo up\naddress add 10.1.0.1/32 dev lo\naddress del 10.1.0.1/32 dev lo');
    // The kernel adds 127.0.0.1 when `lo` goes up.
    await until(() => expect(received.types).toEqual([RTM_NEWADDR, RTM_NEWADDR, RTM_DELADDR]));
    expect(received.batches.every(({ overrun }) => !overrun)).toBe(true);
    expect(received.batches.at(-1)?.drained).toBe(true);
  });

  it('receives more notifications than one buffer holds', async () => {
    using _ = subscribe([RTNLGRP_IPV4_IFADDR]);
    namespace.batch(addresses(ADDRESSES));
    await until(() => expect(received.types).toHaveLength(ADDRESSES));
    expect(new Set(received.types)).toEqual(new Set([RTM_NEWADDR]));
    expect(received.batches.length).toBeGreaterThan(1);
    expect(received.errors).toEqual([]);
  });

  it('reports an overrun once, as a value, and continues', async () => {
    using subscription = subscribe([RTNLGRP_IPV4_IFADDR], { queueBytes: 4_096 });
    subscription.pause();
    namespace.batch(addresses(ADDRESSES));
    expect(received.batches).toEqual([]);
    subscription.resume();
    await until(() => expect(received.batches).not.toEqual([]));
    expect(received.batches.map(({ overrun }) => overrun)).toEqual([true]);
    expect(received.batches[0]?.drained).toBe(true);
    const kept = received.types.length;
    expect(kept).toBeLessThan(ADDRESSES);
    // Polling continues after the socket has reported an error.
    namespace.batch(addresses(3, 'del'));
    await until(() => expect(received.types.slice(kept)).toEqual([RTM_DELADDR, RTM_DELADDR, RTM_DELADDR]));
    expect(received.batches.filter(({ overrun }) => overrun)).toHaveLength(1);
    expect(received.errors).toEqual([]);
  });

  it('reports a datagram that is too long as an overrun', async () => {
    using subscription = subscribe([RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR], { datagramBytesMax: 512 });
    subscription.pause();
    // Messages about addresses fit into `datagramBytesMax`, but messages about devices do not.
    namespace.batch('address add 10.1.0.1/32 dev lo\nlink set lo mtu 1400\naddress add 10.1.0.2/32 dev lo');
    subscription.resume();
    await until(() => expect(received.types).toEqual([RTM_NEWADDR, RTM_NEWADDR]));
    expect(received.batches.some(({ overrun }) => overrun)).toBe(true);
    expect(received.types).not.toContain(RTM_NEWLINK);
  });

  it('ignores messages from other senders', async () => {
    using _ = subscribe([RTNLGRP_IPV4_IFADDR]);
    const forger = spawn('ip', ['netns', 'exec', namespace.name, 'python3', '-c', FORGER], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = await once(forger.stdout, 'data');
    expect(String(said)).toContain('sent');
    await once(forger, 'exit');
    namespace.batch('address add 10.1.0.1/32 dev lo\naddress del 10.1.0.1/32 dev lo');
    await until(() => expect(received.types).toContain(RTM_DELADDR));
    expect(received.types).toEqual([RTM_NEWADDR, RTM_DELADDR]);
  });

  it('reports errors of onBatch and continues', async () => {
    let calls = 0;
    using _ = subscribe([RTNLGRP_IPV4_IFADDR], {
      onBatch: () => {
        calls++;
        throw new Error(`call ${calls}`);
      },
    });
    namespace.batch('address add 10.1.0.1/32 dev lo');
    await until(() => expect(received.errors).toEqual([new Error('call 1')]));
    namespace.batch('address add 10.1.0.2/32 dev lo');
    await until(() => expect(received.errors).toEqual([new Error('call 1'), new Error('call 2')]));
  });

  it('receives nothing after close, and throws', () => {
    const subscription = subscribe([RTNLGRP_IPV4_IFADDR]);
    subscription.close();
    subscription.close();
    namespace.batch('address add 10.1.0.1/32 dev lo');
    expect(() => subscription.receive()).toThrow(expect.objectContaining({ code: 'BPF_CLOSED', errno: EBADF }));
    expect(received.batches).toEqual([]);
  });

  it.each([
    ['a group that does not exist', { groups: [4_242] }],
    ['a buffer that is too small', { bufferBytes: 512 }],
  ])('refuses %s', (_, { groups = [RTNLGRP_LINK], ...options }: { groups?: number[]; bufferBytes?: number }) => {
    expect(() => subscribe(groups, options)).toThrow(expect.objectContaining({ code: 'NETLINK', errno: EINVAL }));
  });
});
