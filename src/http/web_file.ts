import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ConfigError } from '#config/faults.ts';
import type { Files } from '#files/files.ts';
import { type TlsSettings, tlsSettings } from './tls_settings.ts';
import { parseWebConfig, type WebConfig } from './web_config.ts';

/** Maximum size in bytes of the document, a certificate or a key. */
const FILE_BYTES_MAX = 256 * 1024;
/**
 * Milliseconds between checks of the files. A change is applied only after two consecutive checks have found the same
 * content, because the certificate and the key may be written one after the other.
 */
const LOOK_MS = 5_000;

/** Server settings from a valid web configuration. */
export interface WebSettings {
  readonly tls: TlsSettings | undefined;
  readonly users: ReadonlyMap<string, string>;
  readonly headers: WebConfig['headers'];
}

export interface WebStatus {
  /** Whether the current content of the file is active. */
  readonly successful: boolean;
  /** When the file was last applied, in milliseconds since the epoch. */
  readonly appliedMs: number;
  /** When the active certificate expires, in milliseconds since the epoch. */
  readonly certificateUntilMs: number | undefined;
}

interface Look {
  /** Digest of the document and of every file that it refers to. */
  readonly digest: string;
  /** Returns the parsed settings. @throws with all errors of the files */
  readonly settings: () => WebSettings;
}

export interface WebFileOptions {
  readonly files: Pick<Files, 'readText'>;
  readonly path: string;
  readonly changed: (settings: WebSettings) => void;
  readonly log: (level: 'info' | 'warn', message: string) => void;
  readonly lookMs?: number;
}

/**
 * Watches the file of `--web.config.file` and the files that it refers to. If a change is invalid, the previous
 * settings stay active.
 */
export class WebFile implements Disposable {
  readonly #options: WebFileOptions;
  readonly #ending = new AbortController();
  #settings: WebSettings;
  #status: WebStatus;
  /** Digest found by the last check. */
  #last: string;
  /** Digest that was last applied or rejected. */
  #taken: string;

  private constructor(options: WebFileOptions, { digest }: Look, settings: WebSettings) {
    this.#options = options;
    this.#settings = settings;
    this.#status = { successful: true, appliedMs: Date.now(), certificateUntilMs: settings.tls?.untilMs };
    this.#last = digest;
    this.#taken = digest;
    void this.#watch();
  }

  /** @throws with all errors of the files */
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
      log('warn', `${(error as Error).message}\nThe previous settings stay active.`);
      return;
    }
    this.#status = { successful: true, appliedMs: Date.now(), certificateUntilMs: this.#settings.tls?.untilMs };
    log('info', `--web.config.file ${path}: the change is applied`);
    changed(this.#settings);
  }
}

/** Returns all errors in the files; undefined if they are valid. */
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
