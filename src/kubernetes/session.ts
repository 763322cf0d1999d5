import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { KubeConfig } from '@kubernetes/client-node';
import { unlessAborted, withDeadline } from '#core/deadline.ts';
import { boundInterim } from '#core/interim.ts';
import { type ApiRequest, type ApiResponse, type ApiSession, CredentialError } from './api.ts';
import { boundCommands, COMMAND_MS } from './credential_commands.ts';
import { loadKubeConfig } from './kubeconfig.ts';

/**
 * Loaded in Kubernetes mode only, because of the memory that the client library takes. The library handles kubeconfigs,
 * service accounts and every way to authenticate; requests are sent by Node.js itself, each on its own connection, so
 * that none can hang because of another.
 */

/** A dead peer is noticed after this and ten seconds more. */
const KEEPALIVE_MS = 15_000;
/** A child of a killed command may keep its output open. */
const PIPES_MS = 1_000;
const NO_CREDENTIAL =
  'gets no request: the command or the login server that the kubeconfig gets the credential from does not answer';

/**
 * Configured by $KUBECONFIG, ~/.kube/config, or the service account of the Pod.
 * @param file a kubeconfig instead of these
 * @param commandMs milliseconds after which a command that gets the credential is killed
 * @throws where none of these exists, or it is faulty
 */
export function openSession(file?: string, commandMs: number = COMMAND_MS): ApiSession {
  return new KubeSession(file, commandMs);
}

class KubeSession implements ApiSession {
  readonly #file: string | undefined;
  readonly #ending = new AbortController();
  readonly #commandMs: number;
  #config: KubeConfig;
  /** The credential that requests wait for: only one command or login request runs at a time. */
  #authorizing: Promise<RequestOptions> | undefined;

  constructor(file: string | undefined, commandMs: number) {
    this.#file = file;
    this.#commandMs = commandMs;
    this.#config = this.#load();
  }

  get server(): string {
    return this.#config.getCurrentCluster()?.server ?? '';
  }

  renew(): void {
    try {
      this.#config = this.#load();
      this.#authorizing = undefined;
    } catch {
      // A file is being replaced: the next request fails as well, and tries again.
    }
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
  }

  async request({ method, path, accept = 'application/json', body, signal }: ApiRequest): Promise<ApiResponse> {
    const url = new URL(this.#config.getCurrentCluster()?.server ?? '');
    const options = await this.#authorize(signal);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...options.headers,
      ...authorizationOf(options),
      Accept: accept,
      // Only lists are long, and compression delays a stream.
      ...(path.includes('watch=') ? {} : { 'Accept-Encoding': 'gzip' }),
      ...(text === undefined ? {} : { 'Content-Type': 'application/json' }),
      'User-Agent': 'netsonde',
    };
    signal.throwIfAborted();
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const prefix = url.pathname.replace(/\/$/, '');
    const call = send({
      ...options,
      method,
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
      path: `${prefix}${path}`,
      headers,
      signal,
    });
    boundInterim(call);
    call.on('socket', (socket) => socket.setKeepAlive(true, KEEPALIVE_MS));
    call.end(text);
    return answerOf(call);
  }

  #load(): KubeConfig {
    const config = loadKubeConfig(this.#file, process.env);
    boundCommands(config, this.#ending.signal, this.#commandMs);
    return config;
  }

  /** @throws where the signal is already aborted */
  async #authorize(signal: AbortSignal): Promise<RequestOptions> {
    const authorizing = this.#authorizing ?? optionsOf(this.#config, this.#commandMs + PIPES_MS);
    if (authorizing !== this.#authorizing) {
      this.#authorizing = authorizing;
      const done = () => {
        if (this.#authorizing === authorizing) this.#authorizing = undefined;
      };
      authorizing.then(done, done);
    }
    try {
      return await unlessAborted(authorizing, signal);
    } catch (error) {
      throw signal.aborted ? new CredentialError(NO_CREDENTIAL) : error;
    }
  }
}

/**
 * Adds the credentials of the configuration. @throws where a command or a login server does not provide them in time
 */
async function optionsOf(config: KubeConfig, withinMs: number): Promise<RequestOptions> {
  const options: RequestOptions = { headers: {} };
  const applied = config.applyToHTTPSOptions(options as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
  try {
    await withDeadline(applied, withinMs, NO_CREDENTIAL);
  } catch (error) {
    // A killed command prints nothing.
    throw new CredentialError((error as Error).message || NO_CREDENTIAL);
  }
  return options;
}

/** A file with a token may end in a line feed, which is not allowed in a header. */
function authorizationOf({ headers }: RequestOptions): { readonly Authorization?: string } {
  const { Authorization: given } = (headers ?? {}) as { readonly Authorization?: unknown };
  return typeof given === 'string' ? { Authorization: given.trim() } : {};
}

function answerOf(call: ClientRequest): Promise<ApiResponse> {
  return new Promise((resolve, reject) => {
    // Once the answer has begun, failures of the connection are reported by the body.
    call.on('error', reject);
    call.once('response', (response: IncomingMessage) => {
      const retryAfter = Number(response.headers['retry-after']);
      resolve({
        status: response.statusCode ?? 0,
        retryAfter: Number.isFinite(retryAfter) ? retryAfter : undefined,
        body: response.headers['content-encoding'] === 'gzip' ? gunzip(response) : response,
      });
    });
  });
}

function gunzip(response: IncomingMessage): Readable {
  const unzipped = createGunzip();
  response.once('error', (error) => unzipped.destroy(error));
  unzipped.once('close', () => response.destroy());
  return response.pipe(unzipped);
}
