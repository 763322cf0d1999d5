import { Agent as HttpsAgent } from 'node:https';
import { format } from 'winston';
import LokiTransport from 'winston-loki';
import type { LogLokiConfig } from '#config/sinks.ts';
import type { Files } from '#files/files.ts';

// Loaded only where it is configured.

const BATCH_SECONDS = 2;
/** The transport asks for a secret without waiting: it gets what the file said so long ago at most. */
const SECRET_MS = 10_000;
const SECRET_BYTES_MAX = 64 * 1024;
const CERTIFICATES_BYTES_MAX = 4 * 1024 * 1024;

export interface LokiShipping extends Disposable {
  readonly transport: LokiTransport;
}

/**
 * Ships the agent's own log by winston-loki. What cannot be sent is dropped: it is on stderr as well, and the transport
 * knows no bounds for what it would keep.
 * @param failed told of each batch that was lost
 * @throws where a file of the configuration cannot be read
 */
export async function createLokiTransport(
  config: LogLokiConfig,
  node: string,
  files: Files,
  failed: (message: string) => void,
): Promise<LokiShipping> {
  const { tenant, basicAuth, bearerTokenFile } = config;
  const secretFile = basicAuth?.passwordFile ?? bearerTokenFile;
  const agent = config.url.startsWith('https:') ? new HttpsAgent(await tlsOptions(config, files)) : undefined;
  const secret = secretFile === undefined ? undefined : await SecretFile.open(secretFile, files, failed);
  const headers = { ...config.headers, ...(tenant === undefined ? {} : { 'x-scope-orgid': tenant }) };
  // The transport copies them for each request: a token that was replaced is used.
  const withSecret = Object.defineProperty({ ...headers }, 'authorization', {
    enumerable: secret !== undefined,
    get: () =>
      basicAuth === undefined
        ? `Bearer ${secret?.value}`
        : `Basic ${Buffer.from(`${basicAuth.username}:${secret?.value}`).toString('base64')}`,
  });
  const transport = new LokiTransport({
    host: config.url.replace(/\/$/, ''),
    json: true,
    interval: BATCH_SECONDS,
    timeout: config.timeout,
    clearOnError: true,
    gracefulShutdown: false,
    headers: withSecret,
    labels: { ...config.labels, job: 'netsonde-agent', node },
    format: format.printf(({ message }) => String(message)),
    onConnectionError: (error) => failed(error instanceof AggregateError ? String(error.errors[0]) : String(error)),
    ...(agent === undefined ? {} : { httpsAgent: agent }),
  });
  return { transport, [Symbol.dispose]: () => secret?.[Symbol.dispose]() };
}

/** A secret that is read again every few seconds. */
class SecretFile implements Disposable {
  readonly #path: string;
  readonly #files: Files;
  readonly #timer: NodeJS.Timeout;
  #value = '';

  private constructor(path: string, files: Files, failed: (message: string) => void) {
    this.#path = path;
    this.#files = files;
    this.#timer = setInterval(() => void this.#read().catch((error: Error) => failed(error.message)), SECRET_MS);
    this.#timer.unref();
  }

  /** @throws where it cannot be read now */
  static async open(path: string, files: Files, failed: (message: string) => void): Promise<SecretFile> {
    const secret = new SecretFile(path, files, failed);
    try {
      await secret.#read();
    } catch (error) {
      secret[Symbol.dispose]();
      throw error;
    }
    return secret;
  }

  get value(): string {
    return this.#value;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #read(): Promise<void> {
    this.#value = (await this.#files.readText(this.#path, SECRET_BYTES_MAX)).trim();
  }
}

async function tlsOptions({ tls }: LogLokiConfig, files: Files): Promise<object> {
  const { ca, cert, key, serverName, insecureSkipVerify = false } = tls ?? {};
  const read = (path: string | undefined) =>
    path === undefined ? undefined : files.read(path, CERTIFICATES_BYTES_MAX);
  return {
    keepAlive: true,
    ca: await read(ca),
    cert: await read(cert),
    key: await read(key),
    servername: serverName,
    rejectUnauthorized: !insecureSkipVerify,
  };
}
