import type { TestNetns } from './hosts.ts';

/** Payload bytes of open sockets, as shown by `ss -ti`. */
export interface SocketSums {
  sent: number;
  received: number;
  sockets: number;
}

const ADDRESS = /^\[?(.*?)\]?:(\d+)$/;
const MAPPED = /^::ffff:(?=\d+\.)/;

function addressOf(text: string): { address: string; port: string } {
  const [, address = '', port = ''] = ADDRESS.exec(text) ?? [];
  return { address: address.replace(MAPPED, ''), port };
}

function numberOf(line: string, name: string): number {
  return Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0);
}

/**
 * Sums up the open connections of a namespace by role, peer and port. The keys are those of the generator's sums.
 *
 * An end is a server if its local port is the port of a listener. The kernel counts a received FIN as one byte.
 */
export function socketSums(netns: TestNetns): Map<string, SocketSums> {
  const listening = new Set(
    netns
      .exec('ss -tlnH')
      .split('\n')
      .flatMap((line) => line.trim().split(/\s+/)[3] ?? [])
      .map((local) => addressOf(local).port),
  );
  const sums = new Map<string, SocketSums>();
  for (const line of netns.exec('ss -tinOH state connected exclude time-wait').split('\n')) {
    const [state = '', , , local = '', remote = ''] = line.trim().split(/\s+/);
    if (state === '') continue;
    const [here, there] = [addressOf(local), addressOf(remote)];
    const isServer = listening.has(here.port);
    const key = `${netns.name} ${isServer ? 'server' : 'client'} ${there.address} ${isServer ? here.port : there.port}`;
    const sum = sums.get(key) ?? { sent: 0, received: 0, sockets: 0 };
    sum.sent += numberOf(line, 'bytes_sent') - numberOf(line, 'bytes_retrans');
    sum.received += numberOf(line, 'bytes_received') - (state === 'CLOSE-WAIT' ? 1 : 0);
    sum.sockets++;
    sums.set(key, sum);
  }
  return sums;
}

/** Returns the counters of a namespace since its creation, by nstat name. */
export function nstatOf(netns: TestNetns, names: readonly string[]): Record<string, number> {
  const lines = netns.exec(`nstat -asz ${names.join(' ')}`).split('\n');
  const rows = lines.map((line) => line.trim().split(/\s+/)).filter(([name = '']) => names.includes(name));
  return Object.fromEntries(rows.map(([name = '', value]) => [name, Number(value)]));
}
