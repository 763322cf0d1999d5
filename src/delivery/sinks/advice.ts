/** Advice by error code of the operating system, TLS or the HTTP parser. */
const BY_CODE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; check that the server is up and that the port is right',
  ECONNRESET: 'the server or something in between closed the connection; check its log',
  EPIPE: 'the server or something in between closed the connection; check its log',
  EHOSTUNREACH: 'it cannot be reached; check the routes and firewalls of the node',
  ENETUNREACH: 'it cannot be reached; check the routes and firewalls of the node',
  ENOTFOUND: 'DNS does not know this name; check the name and the resolver of the node',
  EAI_AGAIN: 'DNS does not respond; check the resolver of the node',
  EPROTO: 'the server does not speak TLS there; check https:// in the URL',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the server does not speak TLS there; check https:// in the URL',
  HPE_INVALID_CONSTANT: 'the server does not speak HTTP there; check http:// in the URL',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'set tls.ca to the certificates of the CA',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'set tls.ca to the certificates of the CA',
  SELF_SIGNED_CERT_IN_CHAIN: 'set tls.ca to the certificates of the CA',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'set tls.ca to the certificate of the server',
  CERT_HAS_EXPIRED: 'renew the certificate of the server, or correct the clock of the node',
  CERT_NOT_YET_VALID: 'correct the clock of the node, or of the issuer of the certificate',
  ERR_TLS_CERT_ALTNAME_INVALID: 'set tls.serverName if the certificate is for another name',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the server requires a client certificate; set tls.cert and tls.key',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'the server may require a client certificate; set tls.cert and tls.key',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is exceeded',
  EROFS: 'the file system is read-only; mount a volume there',
  EACCES: 'check the owner and the mode of the file and its directory',
  EISDIR: 'the path is a directory; give the path of a file',
};

/** Describes an error on one line: its message, its code, and what to do about it. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  const { message, code } = error as NodeJS.ErrnoException;
  const line = message.split('\n', 1)[0] ?? '';
  const whole = code === undefined || line.includes(code) ? line : `${line} (${code})`;
  const advice = BY_CODE[code ?? ''];
  return advice === undefined ? whole : `${whole}: ${advice}`;
}
