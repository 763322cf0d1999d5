import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ConfigError } from '#config/faults.ts';
import type { Files } from '#files/files.ts';
import { type TlsSettings, tlsSettings } from './tls_settings.ts';
import { parseWebConfig, type WebConfig } from './web_config.ts';

/** Limit in bytes of a document, a certificate or a key: none is nearly as long. */
const FILE_BYTES_MAX = 256 * 1024;
/**
 * Milliseconds between two looks. A change is applied once two looks in a row see the same, because certificate and key may be written
 * one after the other.
 */
const LOOK_MS = 5_000;

/** Settings of a server from a valid web configuration. */
export interface WebSettings {
  readonly tls: TlsSettings | undefined;
  readonly users: ReadonlyMap<string, string>;
  readonly headers: WebConfig['headers'];
}

export interface WebStatus {
  /** Whether the file, as it is now, is in force. */
  readonly successful: boolean;
  /** Time at which it was last applied, in milliseconds since the epoch. */
  readonly appliedMs: number;
  /** Expiry of the certificate in force, in milliseconds since the epoch. */
  readonly certificateUntilMs: number | undefined;
}

interface Look {
  /** Digest of the document and every file that it names. */
  readonly digest: string;
  /** Parses the settings. @throws with all faults */
  readonly settings: () => WebSettings;
}

export interface WebFileOptions {
  readonly files: Pick<Files, 'readText'>;
  readonly path: string;
  readonly changed: (settings: WebSettings) => void;
  readonly log: (level: 'info' | 'warn', message: string) => void;
  readonly lookMs?: number;
}

/** The file of `--web.config.file`, and the files that it names. A faulty change keeps the previous settings in force. */
export class WebFile implements Disposable {
  readonly #options: WebFileOptions;
  readonly #ending = new AbortController();
  #settings: WebSettings;
  #status: WebStatus;
  /** Digests that the last look saw, and that were last applied or refused. */
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

  /** @throws with all faults of the file */
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
      log('warn', `${(error as Error).message}\nThe previous settings stay in force.`);
      return;
    }
    this.#status = { successful: true, appliedMs: Date.now(), certificateUntilMs: this.#settings.tls?.untilMs };
    log('info', `--web.config.file ${path}: the change is in force`);
    changed(this.#settings);
  }
}

/** Returns all faults of the file; undefined where it can be used as it is. */
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
