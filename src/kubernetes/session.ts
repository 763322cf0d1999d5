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
 * This module is loaded only if the API is used, because the client library needs a lot of memory. The library handles
 * kubeconfigs, service accounts and authentication. Requests are sent with Node.js directly, each over its own
 * connection, so that a hung request does not affect others.
 */

/** TCP keep-alive delay in milliseconds. After it, a dead peer is detected within about ten seconds. */
const KEEPALIVE_MS = 15_000;
/** Milliseconds to wait for the output pipes of a killed command to close. Its child processes may keep them open. */
const PIPES_MS = 1_000;
const NO_CREDENTIAL =
  'gets no request, because the command or login server for the credential in the kubeconfig does not respond';

/**
 * Opens a session with the configuration from $KUBECONFIG, ~/.kube/config, or the service account of the Pod.
 * @param file kubeconfig to use instead
 * @param commandMs milliseconds after which a command that fetches a credential is killed
 * @throws if there is no configuration, or if it is invalid
 */
export function openSession(file?: string, commandMs: number = COMMAND_MS): ApiSession {
  return new KubeSession(file, commandMs);
}

class KubeSession implements ApiSession {
  readonly #file: string | undefined;
  readonly #ending = new AbortController();
  readonly #commandMs: number;
  #config: KubeConfig;
  /** The authorization in progress. Requests share it, so that only one command or login request runs at a time. */
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
      // The files may be in the middle of being replaced, so the previous configuration stays in use. If the next
      // request fails, the files are read again.
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
      // Only lists are compressed, because they are large. In a stream, compression would delay the events.
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

  /**
   * Returns the credential.
   * @throws {CredentialError} if the signal is aborted before a credential is available
   */
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
 * Returns request options with the credentials of the configuration.
 * @throws {CredentialError} if a command or login server does not provide them in time
 */
async function optionsOf(config: KubeConfig, withinMs: number): Promise<RequestOptions> {
  const options: RequestOptions = { headers: {} };
  const applied = config.applyToHTTPSOptions(options as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
  try {
    await withDeadline(applied, withinMs, NO_CREDENTIAL);
  } catch (error) {
    // The error of a killed command has no message.
    throw new CredentialError((error as Error).message || NO_CREDENTIAL);
  }
  return options;
}

/** Returns the Authorization header. It is trimmed, because a token file may end in a line break. */
function authorizationOf({ headers }: RequestOptions): { readonly Authorization?: string } {
  const { Authorization: given } = (headers ?? {}) as { readonly Authorization?: unknown };
  return typeof given === 'string' ? { Authorization: given.trim() } : {};
}

function answerOf(call: ClientRequest): Promise<ApiResponse> {
  return new Promise((resolve, reject) => {
    // Once the response has started, connection failures are reported through its body.
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
