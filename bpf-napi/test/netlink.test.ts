import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { netlinkDump, netlinkDumpAsync, withNetns } from '../lib/index.ts';
import { TestNamespace } from './support/namespace.ts';
import { openDescriptors } from './support/process_state.ts';

const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;
const CTNETLINK = 0x100;
const IPCTNL_MSG_CT_GET_STATS_CPU = CTNETLINK | 4;
const IPCTNL_MSG_CT_GET_STATS = CTNETLINK | 5;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const NLM_F_REQUEST = 0x1;
const NLM_F_DUMP = 0x300;
const IFLA_IFNAME = 3;
const IFA_ADDRESS = 1;
const HEADER_BYTES = 16;
const IFINFOMSG_BYTES = 16;
const IFADDRMSG_BYTES = 8;
const ADDRESSES = 1000;
const PLENTY = 1 << 20;

const ENODEV = 19;
const EINVAL = 22;
const EPROTONOSUPPORT = 93;
const EOPNOTSUPP = 95;
const ENOBUFS = 105;

function request(type: number, flags: number, body: number[] = []): Uint8Array {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + IFINFOMSG_BYTES));
  view.setUint32(0, view.byteLength, true);
  view.setUint16(4, type, true);
  view.setUint16(6, NLM_F_REQUEST | flags, true);
  view.setUint32(8, 4711, true);
  body.forEach((word, i) => {
    view.setUint32(HEADER_BYTES + 4 * i, word, true);
  });
  return new Uint8Array(view.buffer);
}

const FORGER = `
import socket, struct, sys
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
done = struct.pack("=IHHIIi", 20, 3, 2, 4711, 0, 0)
print("ready")
while True:
    try:
        link.sendto(done, (int(sys.argv[1]), 0))
    except OSError:
        pass
`;

const LINKS = request(RTM_GETLINK, NLM_F_DUMP);

interface Message {
  readonly type: number;
  /** Returns the bytes of an attribute, or undefined. */
  readonly attribute: (kind: number) => Uint8Array | undefined;
}

/** Returns the messages without the port of the receiving socket (nlmsg_pid). */
function withoutPort(messages: Uint8Array): Uint8Array {
  const copy = messages.slice();
  const view = new DataView(copy.buffer);
  for (let at = 0; at < copy.length; at += (view.getUint32(at, true) + 3) & ~3) view.setUint32(at + 12, 0);
  return copy;
}

/**
 * @param fixed length of the header before the attributes
 */
function decode(messages: Uint8Array, fixed: number): Message[] {
  const view = new DataView(messages.buffer, messages.byteOffset, messages.byteLength);
  const decoded: Message[] = [];
  for (let at = 0; at < messages.length; ) {
    const start = at;
    const end = at + view.getUint32(at, true);
    decoded.push({
      type: view.getUint16(at + 4, true),
      attribute: (kind) => {
        for (let next = start + HEADER_BYTES + fixed; next < end; ) {
          const length = view.getUint16(next, true);
          if (view.getUint16(next + 2, true) === kind) return messages.subarray(next + 4, next + length);
          next += (length + 3) & ~3;
        }
        return undefined;
      },
    });
    at = (end + 3) & ~3;
  }
  return decoded;
}

function nameOf(link: Message): string {
  return Buffer.from(link.attribute(IFLA_IFNAME) ?? [])
    .toString()
    .replace('\0', '');
}

let namespace: TestNamespace;
beforeAll(() => {
  namespace = new TestNamespace();
});
afterAll(() => {
  namespace[Symbol.dispose]();
});

it('lists the links of the calling namespace', () => {
  const { messages, interrupted } = withNetns(namespace.path, () => netlinkDump(NETLINK_ROUTE, LINKS, PLENTY));
  const links = decode(messages, IFINFOMSG_BYTES);
  expect(links.map(nameOf)).toEqual(namespace.links());
  expect(links.map(nameOf)).toContain('lo');
  expect(links.every(({ type }) => type === RTM_NEWLINK)).toBe(true);
  expect(interrupted).toBe(false);
});

it('receives a response that is longer than one datagram', () => {
  const address = (i: number) => `10.77.${i >> 8}.${i & 255}`;
  const expected = Array.from({ length: ADDRESSES }, (_, i) => address(i));
  namespace.batch(expected.map((each) => `address add ${each}/32 dev lo`).join('\n'));
  const { messages } = withNetns(namespace.path, () =>
    netlinkDump(NETLINK_ROUTE, request(RTM_GETADDR, NLM_F_DUMP), PLENTY),
  );
  expect(messages.length).toBeGreaterThan(64 * 1024);
  const rows = decode(messages, IFADDRMSG_BYTES);
  expect(rows.every(({ type }) => type === RTM_NEWADDR)).toBe(true);
  expect(rows.map((row) => row.attribute(IFA_ADDRESS)?.join('.'))).toEqual(expected);
});

it('accepts responses only from the kernel', async () => {
  using forged = new TestNamespace();
  forged.batch(
    Array.from({ length: ADDRESSES }, (_, i) => `address add 10.78.${i >> 8}.${i & 255}/32 dev lo`).join('\n'),
  );
  const addresses = request(RTM_GETADDR, NLM_F_DUMP);
  const ask = () => withNetns(forged.path, () => netlinkDump(NETLINK_ROUTE, addresses, PLENTY));
  const whole = decode(ask().messages, IFADDRMSG_BYTES).length;
  expect(whole).toBe(ADDRESSES);
  // The first netlink socket of a process has the process ID as its port. The forger repeatedly sends a message that
  // has the right sequence number and would end the response.
  const forger = spawn('ip', ['netns', 'exec', forged.name, 'python3', '-u', '-c', FORGER, String(process.pid)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(forger.stdout, 'data');
    for (let times = 0; times < 50; times++) {
      expect(decode(ask().messages, IFADDRMSG_BYTES)).toHaveLength(whole);
    }
  } finally {
    forger.kill('SIGKILL');
    await once(forger, 'exit');
  }
});

it('accepts an empty response', () => {
  using empty = new TestNamespace();
  const { messages } = withNetns(empty.path, () =>
    netlinkDump(NETLINK_ROUTE, request(RTM_GETADDR, NLM_F_DUMP), PLENTY),
  );
  expect(messages).toHaveLength(0);
});

it('accepts a single response to a request that is not a dump', () => {
  const loopback = request(RTM_GETLINK, 0, [0, 1]);
  const { messages } = withNetns(namespace.path, () => netlinkDump(NETLINK_ROUTE, loopback, PLENTY));
  expect(decode(messages, IFINFOMSG_BYTES).map(nameOf)).toEqual(['lo']);
});

it('accepts a single response with NLM_F_MULTI, and does not wait for more', () => {
  // If the function waited for another message, it would fail with a timeout.
  const { messages } = withNetns(namespace.path, () =>
    netlinkDump(NETLINK_NETFILTER, request(IPCTNL_MSG_CT_GET_STATS, 0), PLENTY),
  );
  expect(decode(messages, 4).map(({ type }) => type)).toEqual([IPCTNL_MSG_CT_GET_STATS]);
  // A dump of the same family ends with NLMSG_DONE.
  const dump = withNetns(namespace.path, () =>
    netlinkDump(NETLINK_NETFILTER, request(IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP), PLENTY),
  );
  expect(decode(dump.messages, 4).length).toBeGreaterThan(0);
});

it('receives the same response in a worker thread, in the namespace in which the request was made', async () => {
  const addresses = request(RTM_GETADDR, NLM_F_DUMP);
  const { answer } = withNetns(namespace.path, () => ({
    answer: netlinkDumpAsync(NETLINK_ROUTE, addresses, PLENTY),
  }));
  const expected = withNetns(namespace.path, () => netlinkDump(NETLINK_ROUTE, addresses, PLENTY));
  expect(expected.messages.length).toBeGreaterThan(64 * 1024);
  const { messages, interrupted } = await answer;
  expect(interrupted).toBe(false);
  expect(withoutPort(messages)).toEqual(withoutPort(expected.messages));
});

describe('fails', () => {
  const dump = (protocol: number, message: Uint8Array, bytesMax = PLENTY) => {
    return () => withNetns(namespace.path, () => netlinkDump(protocol, message, bytesMax));
  };
  const wrong: [string, () => unknown, number][] = [
    ['an unknown type', dump(NETLINK_ROUTE, request(0x7fff, NLM_F_DUMP)), EOPNOTSUPP],
    ['a link that does not exist', dump(NETLINK_ROUTE, request(RTM_GETLINK, 0, [0, 4242])), ENODEV],
    ['an unknown protocol', dump(31, LINKS), EPROTONOSUPPORT],
    ['a request without a header', dump(NETLINK_ROUTE, new Uint8Array(15)), EINVAL],
    ['a response that is longer than allowed', dump(NETLINK_ROUTE, LINKS, 100), ENOBUFS],
  ];
  it.each(wrong)('with the errno for %s', (_what, call, errno) => {
    expect(call).toThrow(expect.objectContaining({ name: 'BpfError', code: 'NETLINK', errno }));
  });

  it.each([
    ['an unknown protocol', 31, PLENTY, EPROTONOSUPPORT],
    ['a response that is longer than allowed', NETLINK_ROUTE, 100, ENOBUFS],
  ])('with the errno off the event loop: %s', async (_what, protocol, bytesMax, errno) => {
    await expect(netlinkDumpAsync(protocol, LINKS, bytesMax)).rejects.toThrow(
      expect.objectContaining({ name: 'BpfError', code: 'NETLINK', errno }),
    );
  });

  it('by the byte over the limit', () => {
    const { messages } = dump(NETLINK_ROUTE, LINKS)();
    expect(dump(NETLINK_ROUTE, LINKS, messages.length)().messages).toHaveLength(messages.length);
    expect(dump(NETLINK_ROUTE, LINKS, messages.length - 1)).toThrow(expect.objectContaining({ errno: ENOBUFS }));
  });
});

it('leaves no descriptor open, after success and failure', async () => {
  const before = openDescriptors();
  for (let i = 0; i < 500; i++) {
    netlinkDump(NETLINK_ROUTE, LINKS, PLENTY);
    expect(() => netlinkDump(NETLINK_ROUTE, LINKS, 10)).toThrow();
    expect(() => netlinkDump(31, LINKS, 10)).toThrow();
    await netlinkDumpAsync(NETLINK_ROUTE, LINKS, PLENTY);
    await expect(netlinkDumpAsync(NETLINK_ROUTE, LINKS, 10)).rejects.toThrow();
  }
  expect(openDescriptors()).toEqual(before);
});
