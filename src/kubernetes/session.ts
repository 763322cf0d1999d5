import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { KubeConfig } from '@kubernetes/client-node';
import { boundInterim } from '#core/interim.ts';
import type { ApiRequest, ApiResponse, ApiSession } from './api.ts';
import { loadKubeConfig } from './kubeconfig.ts';

/**
 * Loaded in Kubernetes mode only, for the memory that the client library takes. It knows kubeconfigs,
 * service accounts and every way to authenticate; requests go by Node.js itself, a connection each, so that
 * none can hang on another's.
 */

/** A dead peer is noticed after this and ten seconds more. */
const KEEPALIVE_MS = 15_000;

/**
 * By $KUBECONFIG, ~/.kube/config, or the service account of the Pod.
 * @param file a kubeconfig instead of these
 * @throws where there is none of these, or it is faulty
 */
export function openSession(file?: string): ApiSession {
  return new KubeSession(file);
}

class KubeSession implements ApiSession {
  readonly #file: string | undefined;
  #config: KubeConfig;

  constructor(file: string | undefined) {
    this.#file = file;
    this.#config = loadKubeConfig(file, process.env);
  }

  get server(): string {
    return this.#config.getCurrentCluster()?.server ?? '';
  }

  renew(): void {
    try {
      this.#config = loadKubeConfig(this.#file, process.env);
    } catch {
      // A file that is being replaced: the next request fails as well, and tries again.
    }
  }

  async request({ method, path, accept = 'application/json', body, signal }: ApiRequest): Promise<ApiResponse> {
    const url = new URL(this.#config.getCurrentCluster()?.server ?? '');
    const options: RequestOptions = { headers: {} };
    await this.#config.applyToHTTPSOptions(options as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...options.headers,
      ...authorizationOf(options),
      Accept: accept,
      // Only lists are long, and a stream that is compressed arrives late.
      ...(path.includes('watch=') ? {} : { 'Accept-Encoding': 'gzip' }),
      ...(text === undefined ? {} : { 'Content-Type': 'application/json' }),
      'User-Agent': 'netsonde',
    };
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
}

/** A file that has a token may end in a line feed, which no header may have. */
function authorizationOf({ headers }: RequestOptions): { readonly Authorization?: string } {
  const { Authorization: given } = (headers ?? {}) as { readonly Authorization?: unknown };
  return typeof given === 'string' ? { Authorization: given.trim() } : {};
}

function answerOf(call: ClientRequest): Promise<ApiResponse> {
  return new Promise((resolve, reject) => {
    // After the answer has begun the body tells what happens to the connection.
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
