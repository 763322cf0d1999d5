import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ConfigError } from '#config/faults.ts';
import type { Files } from '#files/files.ts';
import { type TlsSettings, tlsSettings } from './tls_settings.ts';
import { parseWebConfig, type WebConfig } from './web_config.ts';

/** A document, a certificate, a key: none is nearly as long. */
const FILE_BYTES_MAX = 256 * 1024;
/** A change is taken once two looks in a row see the same: certificate and key may be written one after the other. */
const LOOK_MS = 5_000;

/** What a server needs to know of a web configuration that holds. */
export interface WebSettings {
  readonly tls: TlsSettings | undefined;
  readonly users: ReadonlyMap<string, string>;
  readonly headers: WebConfig['headers'];
}

export interface WebStatus {
  /** The file, as it is, is in force. */
  readonly successful: boolean;
  /** When it was last taken, in milliseconds since the epoch. */
  readonly appliedMs: number;
  /** When the certificate in force expires, in milliseconds since the epoch. */
  readonly certificateUntilMs: number | undefined;
}

interface Look {
  /** Of the document and every file that it names. */
  readonly digest: string;
  /** The settings. @throws with everything that is wrong */
  readonly settings: () => WebSettings;
}

export interface WebFileOptions {
  readonly files: Pick<Files, 'readText'>;
  readonly path: string;
  readonly changed: (settings: WebSettings) => void;
  readonly log: (level: 'info' | 'warn', message: string) => void;
  readonly lookMs?: number;
}

/** The file of `--web.config.file`, and the files that it names. What is wrong with a change keeps what was in force. */
export class WebFile implements Disposable {
  readonly #options: WebFileOptions;
  readonly #ending = new AbortController();
  #settings: WebSettings;
  #status: WebStatus;
  /** What the last look saw, and what was taken or refused last. */
  #last: string;
  #taken: string;

  private constructor(options: WebFileOptions, { digest }: Look, settings: WebSettings) {
    this.#options = options;
    this.#settings = settings;
    this.#status = { successful: true, appliedMs: Date.now(), certificateUntilMs: settings.tls?.untilMs };
    this.#last = digest;
    this.#taken = digest;
    void this.#watch();
  }

  /** @throws with everything that is wrong with it */
  static async open(options: WebFileOptions): Promise<WebFile> {
    const first = await lookAt(options.files, options.path);
    return new WebFile(options, first, first.settings());
  }

  get settings(): WebSettings {
    return this.#settings;
  }

  get status(): WebStatus {
    return this.#status;
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
  }

  async #watch(): Promise<void> {
    const { signal } = this.#ending;
    const { files, path, lookMs = LOOK_MS } = this.#options;
    while (!signal.aborted) {
      await wait(lookMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      const look = await lookAt(files, path);
      if (!signal.aborted) this.#take(look);
    }
  }

  #take({ digest, settings }: Look): void {
    const isAtRest = digest === this.#last;
    this.#last = digest;
    if (!isAtRest || digest === this.#taken) return;
    this.#taken = digest;
    const { path, changed, log } = this.#options;
    try {
      this.#settings = settings();
    } catch (error) {
      this.#status = { ...this.#status, successful: false };
      log('warn', `${(error as Error).message}\nWhat was in force before stays.`);
      return;
    }
    this.#status = { successful: true, appliedMs: Date.now(), certificateUntilMs: this.#settings.tls?.untilMs };
    log('info', `--web.config.file ${path}: the change is in force`);
    changed(this.#settings);
  }
}

/** Everything that is wrong with the file; undefined where it can be used as it is. */
export async function webFileFault(files: WebFileOptions['files'], path: string): Promise<string | undefined> {
  try {
    (await lookAt(files, path)).settings();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function lookAt(files: WebFileOptions['files'], path: string): Promise<Look> {
  const hash = createHash('sha256');
  const read = async (file: string) => {
    const text = await files.readText(file, FILE_BYTES_MAX).catch((error: Error) => {
      hash.update(error.message);
      throw error;
    });
    hash.update(JSON.stringify([file, text]));
    return text;
  };
  const config = await read(path)
    .then((text) => parseWebConfig(text, dirname(path), read))
    .catch((error: Error) => error);
  return { digest: hash.digest('hex'), settings: () => settingsOf(path, config) };
}

function settingsOf(path: string, config: WebConfig | Error): WebSettings {
  try {
    if (config instanceof Error) throw config;
    const { tls, users, headers } = config;
    return { tls: tls && tlsSettings(tls, Date.now()), users, headers };
  } catch (error) {
    const separator = error instanceof ConfigError ? '\n' : ' ';
    throw new Error(`--web.config.file ${path}:${separator}${(error as Error).message}`);
  }
}
