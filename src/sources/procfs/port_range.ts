import { join } from 'node:path';
import { readText } from './read.ts';

/** Range of ports that a kernel assigns to clients automatically. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Default of the kernel (net/ipv4/af_inet.c, inet_init_net()). */
export const DEFAULT_PORT_RANGE: PortRange = { first: 32_768, last: 60_999 };

const FILE = 'sys/net/ipv4/ip_local_port_range';
const PORT_MAX = 65_535;

/**
 * Reads the port range of the agent's own network namespace, which should be the node's namespace. Returns the kernel's
 * default if the range cannot be read.
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
