import { once } from 'node:events';
import { isIP, type Socket } from 'node:net';
import { getCACertificates, type PeerCertificate, connect as startHandshake, type TLSSocket } from 'node:tls';
import type { TlsFacts } from '#why/evidence.ts';
import { bounded } from './bounded.ts';
import type { TrialPlan } from './messages.ts';
import type { Deadline } from './timeouts.ts';

/** Carries out a handshake. A certificate that is not accepted does not end it, so that the facts are complete. */
export async function startTls(
  socket: Socket,
  { host, authorities }: Pick<TrialPlan, 'host' | 'authorities'>,
  deadline: Deadline,
  tell: (text: string) => void,
): Promise<{ readonly socket: TLSSocket; readonly facts: TlsFacts }> {
  const start = performance.now();
  const name = host.replace(/\.$/, '');
  const tls = startHandshake({
    socket,
    ...(isIP(name) === 0 ? { servername: name } : { host: name }),
    ...(authorities === undefined ? {} : { ca: [...getCACertificates('default'), authorities] }),
    rejectUnauthorized: false,
  });
  await deadline.race(once(tls, 'secureConnect'));
  const certificate: Partial<PeerCertificate> = tls.getPeerCertificate();
  const fault = tls.authorized ? undefined : faultOf(tls.authorizationError);
  const facts = {
    names: bounded(certificate.subjectaltname ?? String(certificate.subject?.CN ?? '')),
    issuer: bounded(String(certificate.issuer?.CN ?? certificate.issuer?.O ?? '?')),
    validTo: certificate.valid_to ?? '?',
    fault,
  };
  const ms = (performance.now() - start).toFixed(1);
  const trust = fault === undefined ? 'trusted' : `not accepted: ${fault}`;
  tell(
    `TLS: ${tls.getProtocol()} in ${ms} ms; certificate of ${facts.names}, issued by ${facts.issuer}, valid until ${facts.validTo}, ${trust}`,
  );
  return { socket: tls, facts };
}

function faultOf(error: unknown): string {
  return typeof error === 'string' ? error : ((error as NodeJS.ErrnoException | null)?.code ?? String(error));
}
