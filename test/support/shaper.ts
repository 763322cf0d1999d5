import type { HostPair, TestNetns } from './hosts.ts';

/** Bytes a second, and bytes that may go at once. */
const RATE = 100_000;
const BURST = 1_600;

/** A queueing discipline whose delays bucketDelays() tells. */
export const TOKEN_BUCKET = `tbf rate ${(RATE * 8) / 1_000}kbit burst ${BURST} limit 100000`;

/**
 * Seconds that each of some packets of this length waits in TOKEN_BUCKET where they come all at once: a packet goes as soon
 * as there are tokens for all bytes up to its end; the bucket is full at first.
 */
export function bucketDelays(count: number, length: number): number[] {
  return Array.from({ length: count }, (_, index) => Math.max(0, ((index + 1) * length - BURST) / RATE));
}

/** Puts a queueing discipline on the device of namespace a, until disposed. */
export function shape(pair: HostPair, options: string): Disposable {
  pair.a.netns.tc(`qdisc add dev ${pair.deviceA} root ${options}`);
  return { [Symbol.dispose]: () => void pair.a.netns.tc(`qdisc del dev ${pair.deviceA} root`) };
}

/** Datagrams of 1,000 bytes, faster than anything can send them; returns the source port. */
export function sendAtOnce(netns: TestNetns, address: string, port: number, count: number): number {
  return Number(
    netns.python(`
import socket
s = socket.socket(socket.AF_INET6 if ':' in '${address}' else socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('${address}', ${port}))
for _ in range(${count}): s.send(bytes(1000))
print(s.getsockname()[1])`),
  );
}
