import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { rawAnswer } from './failure.ts';
import type { Refusals } from './refusals.ts';
import { clientFault, type TlsSettings } from './tls_settings.ts';

const HANDSHAKE_MS = 10_000;

/** Layer between a connection and the HTTP server: TLS, where it is configured, which may change while the server runs. */
export class Front {
  readonly #http: HttpServer;
  readonly #refusals: Refusals;
  #tls: TlsServer | undefined;

  constructor(http: HttpServer, refusals: Refusals) {
    this.#http = http;
    this.#refusals = refusals;
  }

  /** Sets TLS for later connections. @param settings undefined: without TLS */
  use(settings: TlsSettings | undefined): void {
    this.#tls = settings && this.#server(settings);
  }

  accept(socket: Socket): void {
    (this.#tls ?? this.#http).emit('connection', socket);
  }

  #server({ config, context }: TlsSettings): TlsServer {
    const options = {
      ...context,
      // A fault of a certificate is described in an answer, once the client can read it.
      requestCert: config.clientAuth !== 'NoClientCert',
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MS,
      ALPNProtocols: ['http/1.1'],
    };
    return createServer(options, (socket: TLSSocket) => {
      const error = clientFault(config, socket, Date.now());
      if (error === undefined) this.#http.emit('connection', socket);
      else this.#refuse(socket, error);
    }).on('tlsClientError', (_error, socket) => {
      this.#refusals.count('tls');
      socket.destroy();
    });
  }

  /** Refuses a connection before any of its bytes is read as a request. */
  #refuse(socket: TLSSocket, error: string): void {
    this.#refusals.count('certificate');
    socket.on('error', () => undefined);
    socket.resume();
    socket.end(rawAnswer('403 Forbidden', error));
  }
}
