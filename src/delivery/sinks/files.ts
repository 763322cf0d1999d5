import { isIP } from 'node:net';
import type { HttpConfig } from '#config/sinks.ts';
import type { Files } from '#files/files.ts';
import { Unavailable } from '../sink.ts';
import { messageOf } from './advice.ts';

type Login = NonNullable<HttpConfig['basicAuth']>;

const SECRET_BYTES_MAX = 64 * 1024;
const CERTIFICATES_BYTES_MAX = 4 * 1024 * 1024;

/** @throws {Unavailable} if the file cannot be read, or contains no usable password */
export async function basicLogin(
  { username, passwordFile }: Login,
  files: Files,
): Promise<{ header: string; password: string }> {
  const password = await readSecret(passwordFile, files);
  return { header: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`, password };
}

/**
 * Returns options for node:tls. Reads the files for each connection, because certificates may be renewed.
 * @throws {Unavailable}
 */
export async function tlsOptions({ tls }: Pick<HttpConfig, 'tls'>, host: string, files: Files): Promise<object> {
  const { ca, cert, key, serverName, insecureSkipVerify = false } = tls ?? {};
  return {
    ...(ca === undefined ? {} : { ca: await readText(ca, files, CERTIFICATES_BYTES_MAX) }),
    ...(cert === undefined ? {} : { cert: await readText(cert, files, CERTIFICATES_BYTES_MAX) }),
    ...(key === undefined ? {} : { key: await readText(key, files, CERTIFICATES_BYTES_MAX) }),
    ...nameOf(serverName ?? host),
    rejectUnauthorized: !insecureSkipVerify,
  };
}

/** Omits the server name (SNI) for an IP address (RFC 6066, section 3). */
function nameOf(host: string): object {
  return isIP(host) === 0 ? { servername: host, host } : { host };
}

/** Reads a secret without surrounding whitespace, such as the final line break. @throws {Unavailable} */
export async function readSecret(path: string, files: Files): Promise<string> {
  const secret = (await readText(path, files, SECRET_BYTES_MAX)).trim();
  if (!/^[\x20-\x7e]+$/.test(secret)) throw new Unavailable(`${path} is empty, or not a single line of ASCII`);
  return secret;
}

async function readText(path: string, files: Files, bytesMax: number): Promise<string> {
  try {
    return await files.readText(path, bytesMax);
  } catch (error) {
    throw new Unavailable(messageOf(error));
  }
}
