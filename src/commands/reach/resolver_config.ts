import { parseIp } from '#core/address.ts';

/**
 * Limits of glibc (resolv.h: RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY, MAXNS). The number of domains has no limit there;
 * it is that of Kubernetes.
 */
const LIMITS = { ndots: 15, timeout: 30, attempts: 5, servers: 3, search: 32 } as const;

/** Domains of printable ASCII, not longer than a name (RFC 1035). For others, Node.js would ask for the root. */
const DOMAIN = /^[!-~]{1,253}$/;

/** The settings of a Pod's resolver. */
export interface ResolverConfig {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly ndots: number;
  /** Seconds that the resolver waits for a response. */
  readonly timeout: number;
  readonly attempts: number;
}

/** Parses resolv.conf(5) like glibc: the last `search` or `domain` counts, and unknown lines are ignored. */
export function parseResolverConfig(text: string): ResolverConfig {
  const lines = text.split('\n').map((line) =>
    line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/),
  );
  const valuesOf = (...keys: readonly string[]) =>
    lines.filter(([key = '']) => keys.includes(key)).map(([, ...values]) => values);
  const servers = valuesOf('nameserver').flatMap(([address = '']) => serverOf(address) ?? []);
  const search = (valuesOf('search', 'domain').at(-1) ?? []).map((name) => name.replace(/\.$/, ''));
  const options = new Map(
    valuesOf('options')
      .flat()
      .map((option) => [option.split(':', 1)[0], Number(/^\w+:(\d+)$/.exec(option)?.[1])] as const),
  );
  const value = (name: 'ndots' | 'timeout' | 'attempts', byDefault: number) => {
    const given = options.get(name) ?? byDefault;
    return Math.min(Number.isNaN(given) ? byDefault : given, LIMITS[name]);
  };
  return {
    servers: servers.length === 0 ? ['127.0.0.1'] : servers.slice(0, LIMITS.servers),
    search: search.filter((name) => DOMAIN.test(name)).slice(0, LIMITS.search),
    ndots: value('ndots', 1),
    timeout: Math.max(1, value('timeout', 5)),
    attempts: Math.max(1, value('attempts', 2)),
  };
}

/** Returns the address of a server. A scope, as in fe80::1%eth0, is part of a link-local address. */
function serverOf(text: string): string | undefined {
  const [address = '', scope] = text.split('%');
  const ip = parseIp(address);
  return ip === undefined || scope === undefined ? ip : `${ip}%${scope}`;
}

/** Returns the names that a resolver asks for, in order. A name with a dot at its end is complete. */
export function candidatesOf(name: string, { search, ndots }: ResolverConfig): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const searched = search.map((domain) => `${name}.${domain}`);
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...searched] : [...searched, name];
}

/** Returns the addresses of a name in hosts(5). */
export function addressesIn(hosts: string, name: string): string[] {
  const wanted = name.toLowerCase().replace(/\.$/, '');
  return hosts.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const ip = parseIp(address);
    return ip !== undefined && names.some((one) => one.toLowerCase() === wanted) ? [ip] : [];
  });
}
