import type { HostPair } from './hosts.ts';
import { AHEAD_OF_OTHERS, PythonProgram } from './python.ts';

/**
 * Python program with a receiving socket `s`. It executes each line that it reads, and then prints the monotonic clock.
 */
const RECEIVER = (
  family: 'AF_INET' | 'AF_INET6',
  address: string,
  port: number,
  protocol: 'tcp' | 'udp',
  receiveBuffer: number,
) => `${AHEAD_OF_OTHERS}
import socket, sys, time
s = socket.socket(socket.${family}, socket.SOCK_${protocol === 'tcp' ? 'STREAM' : 'DGRAM'})
s.bind(('${address}', ${port}))
if ${receiveBuffer}: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ${receiveBuffer})
if '${protocol}' == 'tcp': s.listen()
print('bound')
if '${protocol}' == 'tcp': s = s.accept()[0]
print('ready')
def drain():
  s.settimeout(0.3)
  try:
    while s.recv(1000000): pass
  except TimeoutError: pass
for line in sys.stdin:
  exec(line)
  print(time.monotonic_ns())
`;

const SENDER = (
  family: 'AF_INET' | 'AF_INET6',
  address: string,
  port: number,
  protocol: 'tcp' | 'udp',
) => `${AHEAD_OF_OTHERS}
import socket, sys, time
s = socket.socket(socket.${family}, socket.SOCK_${protocol === 'tcp' ? 'STREAM' : 'DGRAM'})
s.connect(('${address}', ${port}))
if '${protocol}' == 'tcp': s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(s.getsockname()[1])
for line in sys.stdin:
  now = time.monotonic_ns()
  exec(line)
  print(now)
`;

/** An address for bind() or connect(). */
export interface End {
  readonly family: 'AF_INET' | 'AF_INET6';
  readonly address: string;
}

/** Two connected sockets, each in its own Python program. A test sends on one socket and reads from the other. */
export interface Joined extends AsyncDisposable {
  readonly receiver: PythonProgram;
  readonly sender: PythonProgram;
  readonly senderPort: number;
  readonly port: number;
}

let port = 7300;

/**
 * Opens two connected sockets. The sender is in namespace a and the receiver in namespace b. Each pair of sockets has
 * its own port.
 * @param receiveBuffer SO_RCVBUF of the receiver; 0 keeps the kernel's default
 */
export async function joinSockets(
  pair: HostPair,
  protocol: 'tcp' | 'udp',
  to: End,
  bind = to,
  receiveBuffer = 0,
): Promise<Joined> {
  port++;
  await using cleanup = new AsyncDisposableStack();
  const receiver = cleanup.use(
    new PythonProgram(pair.b.netns, RECEIVER(bind.family, bind.address, port, protocol, receiveBuffer)),
  );
  await expectLine(receiver, 'bound');
  const sender = cleanup.use(new PythonProgram(pair.a.netns, SENDER(to.family, to.address, port, protocol)));
  const senderPort = Number(await sender.line());
  await expectLine(receiver, 'ready');
  const owned = cleanup.move();
  return { receiver, sender, senderPort, port, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Sends a line to a program, and returns the time that it prints, in nanoseconds of the monotonic clock. */
export async function told(program: PythonProgram, line: string): Promise<number> {
  program.tell(line);
  return Number(await program.line());
}

async function expectLine(program: PythonProgram, expected: string): Promise<void> {
  const line = await program.line();
  if (line !== expected) throw new Error(`the program printed ${line}, not ${expected}`);
}
