import type { Dialogue } from './dialogue.ts';
import { type HostPair, startPython } from './hosts.ts';
import { HOLE, loseHoles } from './lost_packets.ts';

/** More than segments are kept of all connections. */
const CONNECTIONS = 600;
const PORT = 8_098;

/** Opens many connections that send a segment behind bytes that never arrive. */
export async function openHoles({ a, b, addressB }: HostPair): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  stack.use(loseHoles(b.netns));
  const address = JSON.stringify(addressB.ipv4);
  stack.use(
    await startPython(
      b.netns,
      `
import socket, time
server = socket.create_server((${address}, ${PORT}), backlog=${2 * CONNECTIONS})
print('ready')
time.sleep(3600)`,
    ),
  );
  stack.use(
    await startPython(
      a.netns,
      `
import socket, time
connections = [socket.create_connection((${address}, ${PORT})) for _ in range(${CONNECTIONS})]
for connection in connections:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b'GET / HTTP/1.1\\r\\nHost: ')
    connection.sendall(b'${HOLE}')
    connection.sendall(b'x')
print('ready')
time.sleep(3600)`,
    ),
  );
  return stack;
}

/** A header with a segment that {@link loseHoles} drops, and a request behind it. */
export const REQUEST_BEHIND_HOLE: Dialogue = [
  ['client', Buffer.from('POST / HTTP/1.1\r\nContent-Length: 0\r\nX-')],
  ['client', HOLE],
  ['client', Buffer.from(': 1\r\n\r\nDELETE / HTTP/1.1\r\n\r\n')],
  ['server', Buffer.from('HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n')],
];
