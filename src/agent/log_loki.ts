import { readFileSync } from 'node:fs';
import { Agent as HttpsAgent } from 'node:https';
import { format } from 'winston';
import LokiTransport from 'winston-loki';
import type { LogLokiConfig } from '#config/sinks.ts';

// Loaded only where it is configured.

const BATCH_SECONDS = 2;

/**
 * Ships the agent's own log by winston-loki. What cannot be sent is dropped: it is on stderr as well, and the transport
 * knows no bounds for what it would keep.
 * @param failed told of each batch that was lost
 * @throws where a file of the configuration cannot be read
 */
export function createLokiTransport(
  config: LogLokiConfig,
  node: string,
  failed: (message: string) => void,
): LokiTransport {
  return new LokiTransport({
    host: config.url.replace(/\/$/, ''),
    json: true,
    interval: BATCH_SECONDS,
    timeout: config.timeout,
    clearOnError: true,
    gracefulShutdown: false,
    headers: headersOf(config),
    labels: { ...config.labels, job: 'netsonde-agent', node },
    format: format.printf(({ message }) => String(message)),
    onConnectionError: (error) => failed(error instanceof AggregateError ? String(error.errors[0]) : String(error)),
    ...(config.url.startsWith('https:') ? { httpsAgent: new HttpsAgent(tlsOptions(config)) } : {}),
  });
}

/** The transport copies them for each request: a token that was replaced is read anew. */
function headersOf({ headers, tenant, basicAuth, bearerTokenFile }: LogLokiConfig): object {
  const all = { ...headers, ...(tenant === undefined ? {} : { 'x-scope-orgid': tenant }) };
  if (basicAuth === undefined && bearerTokenFile === undefined) return all;
  return Object.defineProperty(all, 'authorization', {
    enumerable: true,
    get: () =>
      basicAuth === undefined
        ? `Bearer ${readSecret(bearerTokenFile ?? '')}`
        : `Basic ${Buffer.from(`${basicAuth.username}:${readSecret(basicAuth.passwordFile)}`).toString('base64')}`,
  });
}

function readSecret(path: string): string {
  return readFileSync(path, 'utf8').trim();
}

function tlsOptions({ tls: { ca, cert, key, serverName, insecureSkipVerify = false } = {} as never }: LogLokiConfig) {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
  return {
    keepAlive: true,
    ca: read(ca),
    cert: read(cert),
    key: read(key),
    servername: serverName,
    rejectUnauthorized: !insecureSkipVerify,
  };
}
