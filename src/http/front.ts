import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { rawAnswer } from './failure.ts';
import type { Refusals } from './refusals.ts';
import { clientFault, type TlsSettings } from './tls_settings.ts';

const HANDSHAKE_MS = 10_000;

/** Passes connections to the HTTP server, through TLS if configured. The settings can change while the server runs. */
export class Front {
  readonly #http: HttpServer;
  readonly #refusals: Refusals;
  #tls: TlsServer | undefined;

  constructor(http: HttpServer, refusals: Refusals) {
    this.#http = http;
    this.#refusals = refusals;
  }

  /** Sets TLS for later connections. @param settings undefined for no TLS */
  use(settings: TlsSettings | undefined): void {
    this.#tls = settings && this.#server(settings);
  }

  accept(socket: Socket): void {
    (this.#tls ?? this.#http).emit('connection', socket);
  }

  #server({ config, context }: TlsSettings): TlsServer {
    const options = {
      ...context,
      // An invalid client certificate is rejected after the handshake, with a response that says why.
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

  /** Rejects a connection before any HTTP request is read. */
  #refuse(socket: TLSSocket, error: string): void {
    this.#refusals.count('certificate');
    socket.on('error', () => undefined);
    socket.resume();
    socket.end(rawAnswer('403 Forbidden', error));
  }
}
