import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './oracle.ts';
import { startIn } from './pod_processes.ts';

/** A process in the node's namespace with a listening socket. Disposing ends the process. */
export interface NodeListener extends AsyncDisposable {
  /** ID of the socket's cgroup, as reported by SOCK_DIAG. */
  readonly cgroup: number;
}

/**
 * Listens on loopback, and asks the kernel for the cgroup of the socket. INET_DIAG_CGROUP_ID is attribute 21
 * (linux/inet_diag.h).
 */
const LISTEN = `
import socket, struct, sys, time
s = socket.socket()
s.bind(('127.0.0.1', 0))
s.listen()
port = s.getsockname()[1]
d = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
LISTEN = 10
req = struct.pack('=BBBBI', socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 1 << LISTEN) + struct.pack('>HH', port, 0) + bytes(36) + b'\\xff' * 8
d.send(struct.pack('=IHHII', 16 + len(req), 20, 0x301, 1, 0) + req)
done = False
while not done:
    data = d.recv(1 << 16)
    while data:
        size, kind = struct.unpack('=IH', data[:6])
        message, data = data[16:size], data[(size + 3) & ~3:]
        if kind != 20:
            done = True
            continue
        if struct.unpack('>H', message[4:6])[0] != port: continue
        attrs = message[72:]
        while attrs:
            length, name = struct.unpack('=HH', attrs[:4])
            if name == 21: open(sys.argv[1], 'w').write('%d\\n' % struct.unpack('=Q', attrs[4:12]))
            attrs = attrs[(length + 3) & ~3:]
time.sleep(1000)
`;

/** @param cgroup directory of the cgroup in which the process starts */
export async function listenOnNode(cgroup: string): Promise<NodeListener> {
  const folder = mkdtempSync(join(tmpdir(), 'listener-'));
  const file = join(folder, 'cgroup');
  try {
    const listener = await startIn(cgroup, undefined, ['python3', '-c', LISTEN, file]);
    const id = await eventually(
      () => /^(\d+)\n$/.exec(readFileSync(file, 'utf8'))?.[1] ?? Promise.reject(new Error('no answer')),
    );
    return { cgroup: Number(id), [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
