import type { Logger } from 'winston';
import type { Files } from '#files/files.ts';
import { type AccessOptions, accessTo, readToken } from '#http/access.ts';
import { Connections } from '#http/connections.ts';
import { Followers } from '#http/followers.ts';
import type { ListenAddress } from '#http/listen_address.ts';
import { Listeners } from '#http/listeners.ts';
import { Refusals } from '#http/refusals.ts';
import { WebAccess } from '#http/web_access.ts';
import { WebFile } from '#http/web_file.ts';
import { createHealthApp, createListener, type ServerDeps } from '#server';

export interface ServingOptions {
  readonly listen: ListenAddress;
  /** Second address that serves only /healthz and /readyz, without TLS. */
  readonly healthListen: ListenAddress | undefined;
  /** Path of a Unix socket to listen on in addition to the addresses. */
  readonly apiSocket: string | undefined;
  readonly apiTokenFile: string | undefined;
  /** Whether clients on loopback also need the token, like clients on other machines. */
  readonly apiSocketOnly: boolean;
  /** File with TLS settings and passwords, in the format of the Prometheus exporter toolkit. */
  readonly webConfigFile: string | undefined;
  readonly log: Logger;
}

/** Listens on all addresses and sockets of the agent, and applies the access rules of each. */
export class Serving implements Disposable {
  readonly #refusals = new Refusals();
  readonly #followers = new Followers(this.#refusals);
  readonly #connections = new Connections(this.#refusals);
  readonly #listeners = new Listeners(this.#connections, this.#refusals);
  #web: WebFile | undefined;

  /**
   * Starts to listen on all configured addresses and sockets.
   * @throws if the agent cannot listen on an address, or if the token file or the web configuration is unusable
   */
  async listen(
    options: ServingOptions,
    files: Files,
    known: Omit<ServerDeps, 'connections' | 'followers' | 'refusals' | 'web'>,
  ): Promise<void> {
    const { apiSocket, apiTokenFile, healthListen, listen, webConfigFile, log } = options;
    const [connections, refusals] = [this.#connections, this.#refusals];
    if (apiTokenFile !== undefined) await readToken(files, apiTokenFile);
    /** Called when the web configuration changes. */
    let follow: (settings: WebFile['settings']) => void = () => undefined;
    this.#web =
      webConfigFile === undefined
        ? undefined
        : await WebFile.open({
            files,
            path: webConfigFile,
            changed: (settings) => follow(settings),
            log: (level, message) => void log.log(level, message),
          });
    const deps: ServerDeps = {
      ...known,
      connections,
      followers: this.#followers,
      refusals,
      web: () => this.#web?.status,
    };
    const web = this.#web && new WebAccess(this.#web.settings, refusals);
    const rights: AccessOptions = {
      files,
      tokenFile: apiTokenFile,
      socketOnly: options.apiSocketOnly,
      refusals,
      warn: deps.warn,
      web,
    };
    const app = createListener(deps, accessTo('tcp', rights));
    const front = await this.#listeners.onAddress(listen, app, this.#web?.settings.tls);
    follow = (settings) => {
      front.use(settings.tls);
      web?.use(settings);
      connections.retire();
    };
    if (healthListen !== undefined) await this.#listeners.onAddress(healthListen, createHealthApp(deps));
    if (apiSocket !== undefined)
      await this.#listeners.onUnix(apiSocket, createListener(deps, accessTo('unix', rights)));
  }

  /** Returns the first address as `HOST:PORT`. */
  get address(): string {
    return this.#listeners.address;
  }

  /** Stops listening, and closes all connections. */
  [Symbol.dispose](): void {
    this.#web?.[Symbol.dispose]();
    this.#listeners[Symbol.dispose]();
  }
}
