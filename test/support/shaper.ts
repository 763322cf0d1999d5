import type { HostPair, TestNetns } from './hosts.ts';

/** Rate in bytes per second, and burst in bytes. */
const RATE = 100_000;
const BURST = 1_600;

/** A queueing discipline whose delays bucketDelays() computes. */
export const TOKEN_BUCKET = `tbf rate ${(RATE * 8) / 1_000}kbit burst ${BURST} limit 100000`;

/**
 * Computes the time in seconds for which each packet waits in TOKEN_BUCKET. A packet leaves after all earlier packets,
 * as soon as there are tokens for all of its bytes. The bucket is initially full.
 * @param sent arrival time of each packet, in seconds
 */
export function bucketDelays(sent: readonly number[], length: number): number[] {
  let [tokens, at] = [BURST, sent[0] ?? 0];
  return sent.map((arrival) => {
    const from = Math.max(arrival, at);
    tokens = Math.min(BURST, tokens + (from - at) * RATE);
    const wait = Math.max(0, length - tokens) / RATE;
    tokens += wait * RATE - length;
    at = from + wait;
    return at - arrival;
  });
}

/** Attaches a queueing discipline to the device of namespace a, until disposed. */
export function shape(pair: HostPair, options: string): Disposable {
  pair.a.netns.tc(`qdisc add dev ${pair.deviceA} root ${options}`);
  return { [Symbol.dispose]: () => void pair.a.netns.tc(`qdisc del dev ${pair.deviceA} root`) };
}

/**
 * Sends datagrams of 1,000 bytes as fast as possible. Returns the source port, and the time of each datagram in seconds
 * of the monotonic clock.
 */
export function sendAtOnce(
  netns: TestNetns,
  address: string,
  port: number,
  count: number,
): { source: number; sent: number[] } {
  const printed = netns.python(`
import socket, time
s = socket.socket(socket.AF_INET6 if ':' in '${address}' else socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('${address}', ${port}))
times = [time.monotonic()]
for _ in range(${count}):
  s.send(bytes(1000))
  times.append(time.monotonic())
print(s.getsockname()[1], *times)`);
  const [source = 0, ...times] = printed.trim().split(' ').map(Number);
  // A datagram is sent at an unknown time during its call, so the midpoint is used.
  const sent = times.slice(1).map((end, index) => (end + (times[index] ?? end)) / 2);
  return { source, sent };
}
