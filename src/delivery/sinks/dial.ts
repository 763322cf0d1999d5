import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { request as requestHttp } from 'node:http';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import type { HttpConfig } from '#config/sinks.ts';
import { unlessAborted } from '#core/deadline.ts';
import { boundInterim } from '#core/interim.ts';
import type { Files } from '#files/files.ts';
import { Unavailable } from '../sink.ts';
import { messageOf } from './advice.ts';
import { basicLogin, tlsOptions } from './files.ts';

/** Milliseconds after which the next address is tried in parallel (RFC 8305, section 5). */
const NEXT_ADDRESS_MS = 250;

/** Current step of establishing a connection, for the error message of a timeout. */
export interface Progress {
  waitsFor: string;
}

/** Resolves host names and opens sockets. Tests replace it. */
export interface Network {
  readonly lookup: (name: string) => Promise<readonly LookupAddress[]>;
  readonly open: (address: string, port: number) => Socket;
}

const lookupAll = promisify(dnsLookup);

const NETWORK: Network = {
  lookup: (name) => lookupAll(name, { all: true, order: 'verbatim' }),
  open: (host, port) => connectTcp({ host, port, noDelay: true }),
};

type DialConfig = Pick<HttpConfig, 'tls' | 'proxy'>;

/**
 * Opens connections to one server. Tries all addresses of its host name in parallel, as browsers do, connects through a
 * proxy if one is configured, and uses TLS for https. Each new connection resolves the name and reads the certificate
 * and password files again.
 */
export class Dialer {
  readonly #url: URL;
  readonly #config: DialConfig;
  readonly #files: Files;
  readonly #network: Network;
  /** Lookups in progress by name. Callers share a lookup, because a lookup blocks a thread while the resolver hangs. */
  readonly #lookups = new Map<string, Promise<readonly LookupAddress[]>>();

  constructor(url: URL, config: DialConfig, files: Files, network: Network = NETWORK) {
    this.#url = url;
    this.#config = config;
    this.#files = files;
    this.#network = network;
  }

  /**
   * @throws {Unavailable} if a file cannot be read, no address accepts a connection, or the proxy refuses it; a system
   * or TLS error otherwise
   */
  async dial(signal: AbortSignal, progress: Progress): Promise<Socket> {
    const { proxy } = this.#config;
    const isSecure = this.#url.protocol === 'https:';
    const next = proxy === undefined ? this.#url : new URL(proxy.url);
    let socket = await this.#connect(next, signal, progress);
    try {
      if (isSecure && proxy !== undefined) socket = await this.#tunnel(socket, proxy, signal, progress);
      return isSecure ? await this.#secure(socket, signal, progress) : socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  async #connect({ hostname, port: given, protocol }: URL, signal: AbortSignal, progress: Progress): Promise<Socket> {
    const name = hostOf(hostname);
    const port = given === '' ? (protocol === 'https:' ? 443 : 80) : Number(given);
    progress.waitsFor = `DNS did not respond for ${name}: check the resolver of the node`;
    const addresses =
      isIP(name) === 0 ? await unlessAborted(this.#resolve(name), signal) : [{ address: name, family: 0 }];
    const ordered = alternate(addresses).map(({ address }) => address);
    if (ordered.length === 0) throw new Unavailable(`${name} has no address`);
    progress.waitsFor = `no response to a connection to ${ordered.map((at) => placeOf(at, port)).join(' and ')}: check the address, and that no firewall or NetworkPolicy is in between`;
    return connectFirst(ordered, (address) => this.#network.open(address, port), signal);
  }

  #resolve(name: string): Promise<readonly LookupAddress[]> {
    let lookup = this.#lookups.get(name);
    if (lookup === undefined) {
      lookup = this.#network.lookup(name).finally(() => this.#lookups.delete(name));
      this.#lookups.set(name, lookup);
    }
    return lookup;
  }

  async #tunnel(
    socket: Socket,
    { url, basicAuth }: NonNullable<DialConfig['proxy']>,
    signal: AbortSignal,
    progress: Progress,
  ): Promise<Socket> {
    progress.waitsFor = `the proxy ${new URL(url).host} did not respond`;
    const { hostname, port } = this.#url;
    const path = `${hostname}:${port === '' ? 443 : port}`;
    const login =
      basicAuth === undefined ? {} : { 'proxy-authorization': (await basicLogin(basicAuth, this.#files)).header };
    const call = requestHttp({
      method: 'CONNECT',
      path,
      headers: { host: path, ...login },
      createConnection: () => socket,
      signal,
    });
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    boundInterim(call);
    call.on('error', reject);
    call.once('connect', ({ statusCode = 0 }, connected: Socket) => {
      if (statusCode >= 200 && statusCode < 300) resolve(connected);
      else reject(new Unavailable(proxyRefusal(new URL(url).host, statusCode)));
    });
    call.once('response', ({ statusCode = 0 }) => reject(new Unavailable(proxyRefusal(new URL(url).host, statusCode))));
    call.end();
    return promise;
  }

  async #secure(socket: Socket, signal: AbortSignal, progress: Progress): Promise<Socket> {
    progress.waitsFor = 'the TLS handshake did not finish';
    const options = await unlessAborted(tlsOptions(this.#config, hostOf(this.#url.hostname), this.#files), signal);
    const secure = connectTls({ ...options, socket, ALPNProtocols: ['http/1.1'] });
    await opened(secure, 'secureConnect', signal);
    return secure;
  }
}

export function proxyRefusal(proxy: string, status: number): string {
  const remedy = status === 407 ? 'set proxy.basicAuth' : 'check that it allows connections to this host and port';
  return `the proxy ${proxy} returned ${status}: ${remedy}`;
}

/** Removes the brackets around an IPv6 address in a URL. */
function hostOf(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function placeOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Returns the addresses with IPv4 and IPv6 alternating, starting with the family of the first address. */
function alternate(addresses: readonly LookupAddress[]): readonly LookupAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const others = addresses.filter(({ family }) => family !== addresses[0]?.family);
  return Array.from({ length: Math.max(first.length, others.length) }, (_, index) => [first[index], others[index]])
    .flat()
    .filter((address) => address !== undefined);
}

/**
 * Returns the first connection to be established. An attempt continues after the next one starts, so a slow address
 * still has the whole timeout if the other addresses do not respond.
 */
async function connectFirst(
  addresses: readonly string[],
  open: (address: string) => Socket,
  signal: AbortSignal,
): Promise<Socket> {
  const sockets: Socket[] = [];
  const failures: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  let index = 0;
  let timer: NodeJS.Timeout | undefined;
  const next = () => {
    clearTimeout(timer);
    const address = addresses[index++];
    if (address === undefined) return;
    const socket = open(address);
    sockets.push(socket);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error) => {
      failures.push(messageOf(error));
      if (failures.length === addresses.length) reject(new Unavailable(failures.join('; ')));
      else next();
    });
    if (index < addresses.length) timer = setTimeout(next, NEXT_ADDRESS_MS);
  };
  // The caller may have stopped waiting, in which case the rejection must not be reported as unhandled.
  promise.catch(() => undefined);
  next();
  try {
    const winner = await unlessAborted(promise, signal);
    sockets.splice(sockets.indexOf(winner), 1);
    return winner;
  } finally {
    clearTimeout(timer);
    index = addresses.length;
    for (const socket of sockets) socket.on('error', () => undefined).destroy();
  }
}

function opened(socket: Socket, event: string, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once(event, () => resolve());
  socket.once('error', reject);
  socket.once('close', () => reject(new Error('the server closed the connection')));
  return unlessAborted(promise, signal).catch((error) => {
    socket.on('error', () => undefined).destroy();
    throw error;
  });
}
