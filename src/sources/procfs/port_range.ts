import { join } from 'node:path';
import { readText } from './read.ts';

/** Range of ports that the kernel assigns to sockets that do not request a port. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** The kernel's default (net/ipv4/af_inet.c, inet_init_net()). */
export const DEFAULT_PORT_RANGE: PortRange = { first: 32_768, last: 60_999 };

const FILE = 'sys/net/ipv4/ip_local_port_range';
const PORT_MAX = 65_535;

/**
 * Reads the port range of the agent's network namespace, which should be the node's. Returns the kernel's default if it
 * cannot be read.
 */
export function readPortRange(proc: string): PortRange {
  let text: string | undefined;
  try {
    text = readText(join(proc, FILE));
  } catch {
    return DEFAULT_PORT_RANGE;
  }
  const [, first, last] = /^\s*(\d{1,5})\s+(\d{1,5})\s*$/.exec(text ?? '') ?? [];
  const range = { first: Number(first), last: Number(last) };
  return range.first >= 1 && range.first <= range.last && range.last <= PORT_MAX ? range : DEFAULT_PORT_RANGE;
}
