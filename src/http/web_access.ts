import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { callerOf } from './caller.ts';
import { sendFailure } from './failure.ts';
import { basicCredentials, Passwords } from './passwords.ts';
import type { Refusals } from './refusals.ts';
import { isVerifiedClient } from './tls_settings.ts';
import type { WebSettings } from './web_file.ts';

/**
 * Checks TCP clients against the web configuration after the TLS handshake, and sets the configured response headers.
 */
export class WebAccess {
  readonly #refusals: Refusals;
  #settings: WebSettings;
  #passwords: Passwords;
  readonly #known = new WeakSet<IncomingMessage>();

  constructor(settings: WebSettings, refusals: Refusals) {
    this.#refusals = refusals;
    this.#settings = settings;
    this.#passwords = new Passwords(settings.users);
  }

  use(settings: WebSettings): void {
    this.#settings = settings;
    this.#passwords = new Passwords(settings.users);
  }

  /** Whether clients need a password or, on /api/v1, the token. */
  get asksPasswords(): boolean {
    return !this.#passwords.isEmpty;
  }

  /** Whether the request has a correct password or came with a verified certificate. */
  isKnown(request: IncomingMessage): boolean {
    return this.#known.has(request);
  }

  async check(request: IncomingMessage, response: ServerResponse, next: () => void): Promise<void> {
    for (const [name, value] of Object.entries(this.#settings.headers)) response.setHeader(name, value);
    const { tls } = this.#settings;
    const passwords = this.#passwords;
    if (passwords.isEmpty) {
      if (tls !== undefined && isVerifiedClient(tls.config, request.socket as TLSSocket)) this.#known.add(request);
      next();
      return;
    }
    const given = basicCredentials(request.headers.authorization);
    const { owner, signal } = callerOf(request, response);
    if (given !== undefined && (await passwords.areRight(...given, owner, signal))) {
      this.#known.add(request);
      next();
      return;
    }
    this.#refusals.count('password');
    response.setHeader('WWW-Authenticate', 'Basic realm="netsonde", charset="UTF-8"');
    sendFailure(
      response,
      401,
      given === undefined ? 'a user name and a password are required' : 'the user name or the password is wrong',
    );
  }
}
