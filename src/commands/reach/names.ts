import { Resolver } from 'node:dns/promises';
import { parseIp } from '#core/address.ts';
import type { NameTry } from '#why/evidence.ts';
import { addressesIn, candidatesOf, parseResolverConfig } from './resolver_config.ts';

const MILLISECONDS = 1_000;
/** Errors of a name that make the resolver try the next one. */
const NO_SUCH = ['ENOTFOUND', 'ENODATA'];

export interface Resolved {
  readonly ip: string | undefined;
  readonly tries: readonly NameTry[];
}

/**
 * Resolves a name like the resolver of glibc in the Pod: hosts, then the search list. Each question opens its sockets in
 * this thread, so they belong to the namespace of the thread. A truncated response is asked for again over TCP.
 */
export async function resolveName(
  host: string,
  { resolver, hosts }: { readonly resolver: string; readonly hosts: string },
  tell: (text: string) => void,
): Promise<Resolved> {
  const literal = parseIp(host);
  if (literal !== undefined) return { ip: literal, tries: [] };
  const [known] = addressesIn(hosts, host);
  if (known !== undefined) {
    tell(`${host} is ${known}, according to the Pod's hosts file`);
    return { ip: known, tries: [] };
  }
  const config = parseResolverConfig(resolver);
  const tries: NameTry[] = [];
  for (const name of candidatesOf(host, config)) {
    const ip = await resolveOne(name, config, tries, tell);
    if (ip !== undefined) return { ip, tries };
    const last = tries.at(-1)?.outcome ?? '';
    // Without a response, glibc does not try the other names. After a failure of the server, it does.
    if (!NO_SUCH.includes(last) && last !== 'ESERVFAIL') break;
  }
  return { ip: undefined, tries };
}

async function resolveOne(
  name: string,
  { servers, attempts, timeout }: ReturnType<typeof parseResolverConfig>,
  tries: NameTry[],
  tell: (text: string) => void,
): Promise<string | undefined> {
  for (let turn = 0; turn < attempts * servers.length; turn++) {
    const server = servers[turn % servers.length] ?? '';
    const start = performance.now();
    const { ip, outcome } = await ask(name, server, timeout);
    const ms = performance.now() - start;
    tries.push({ name, server, outcome, ms });
    tell(
      `DNS: ${server} ${ip === undefined ? `does not give ${name}: ${outcome}` : `says that ${name} is ${ip}`} (${ms.toFixed(0)} ms)`,
    );
    if (ip !== undefined || NO_SUCH.includes(outcome)) return ip;
  }
  return undefined;
}

async function ask(
  name: string,
  server: string,
  timeout: number,
): Promise<{ readonly ip: string | undefined; readonly outcome: string }> {
  // A resolver of its own for each question, because a later one would reuse the sockets and skip servers that failed.
  const resolver = new Resolver({ timeout: timeout * MILLISECONDS, tries: 1 });
  resolver.setServers([server.includes(':') ? `[${server}]` : server]);
  try {
    const found = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    const [ip] = found.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    if (ip !== undefined) return { ip, outcome: 'answer' };
    const codes = found.flatMap((one) =>
      one.status === 'rejected' ? [String((one.reason as NodeJS.ErrnoException).code)] : [],
    );
    return { ip: undefined, outcome: codes.find((code) => !NO_SUCH.includes(code)) ?? codes[0] ?? 'ENODATA' };
  } finally {
    resolver.cancel();
  }
}
