/** Advice on an error of the system, of TLS or of HTTP, by its code. */
const BY_CODE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there: is the server up, and is the port right?',
  ECONNRESET: 'the server, or something in between, ended the connection: its log has why',
  EPIPE: 'the server, or something in between, ended the connection: its log has why',
  EHOSTUNREACH: 'it cannot be reached: look at routes and firewalls of the node',
  ENETUNREACH: 'it cannot be reached: look at routes and firewalls of the node',
  ENOTFOUND: 'DNS does not know this name: is it right, and does the resolver of the node know it?',
  EAI_AGAIN: 'DNS gives no answer: does the resolver of the node work?',
  EPROTO: 'the server does not speak TLS there: is https:// right?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the server does not speak TLS there: is https:// right?',
  HPE_INVALID_CONSTANT: 'the server does not speak HTTP there: is http:// right, or https://?',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'give tls.ca: the file with the certificates that sign its own',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'give tls.ca: the file with the certificates that sign its own',
  SELF_SIGNED_CERT_IN_CHAIN: 'give tls.ca: the file with the certificates that sign its own',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'give tls.ca: the file with its certificate',
  CERT_HAS_EXPIRED: 'renew the certificate of the server, or correct the clock of the node',
  CERT_NOT_YET_VALID: 'the clock of the node, or of the issuer of the certificate, is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID: 'give tls.serverName if the certificate is for another name',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the server asks for a certificate: give tls.cert and tls.key',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'the server may ask for a certificate: give tls.cert and tls.key',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of the disk is used up',
  EROFS: 'the file system is read-only: mount a volume there',
  EACCES: 'look at the owner and the mode of the file and its folder',
  EISDIR: 'the path is a folder: give the path of a file',
};

/** Describes an error in one line: its message, its code, and what to do about it. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  const { message, code } = error as NodeJS.ErrnoException;
  const line = message.split('\n', 1)[0] ?? '';
  const whole = code === undefined || line.includes(code) ? line : `${line} (${code})`;
  const advice = BY_CODE[code ?? ''];
  return advice === undefined ? whole : `${whole}: ${advice}`;
}
