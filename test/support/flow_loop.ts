import { type HostPair, startPython } from './hosts.ts';

/** Port of a server that answers each request. */
export const OPEN_PORT = 7_100;
/** Port on which no socket listens. */
export const CLOSED_PORT = 7_101;

const REQUEST = 1_000;
const RESPONSE = 50_000;
const PAUSE_SECONDS = 0.05;

const SERVER = `
import socket, threading
listener = socket.create_server(('', ${OPEN_PORT}))
print('ready')
def serve(connection):
    left = ${REQUEST}
    while left: left -= len(connection.recv(left))
    connection.sendall(b'x' * ${RESPONSE})
    connection.close()
while True: threading.Thread(target=serve, args=(listener.accept()[0],)).start()
`;

const client = (server: string) => `
import socket, time
print('ready')
while True:
    connection = socket.create_connection(('${server}', ${OPEN_PORT}))
    connection.sendall(b'y' * ${REQUEST})
    while connection.recv(65536): pass
    connection.close()
    try: socket.create_connection(('${server}', ${CLOSED_PORT}))
    except ConnectionRefusedError: pass
    time.sleep(${PAUSE_SECONDS})
`;

/**
 * Starts traffic from namespace a to namespace b that continues until it is disposed: requests with responses, and
 * connections that are refused.
 */
export async function startFlowLoop({
  a,
  b,
  addressB,
}: Pick<HostPair, 'a' | 'b' | 'addressB'>): Promise<AsyncDisposable> {
  await using started = new AsyncDisposableStack();
  started.use(await startPython(b.netns, SERVER));
  started.use(await startPython(a.netns, client(addressB.ipv4)));
  return started.move();
}
