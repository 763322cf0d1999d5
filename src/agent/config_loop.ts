/**
 * Reads, validates, applies and reports each new configuration. If one is rejected, the previous configuration stays
 * active.
 */

import { isDeepStrictEqual } from 'node:util';
import type { ConfigStatus, Fault } from '#api/config.ts';
import { ActiveConfig } from '#config/active_config.ts';
import type { ConfigMapVersion } from '#config/configmap.ts';
import type { Mapping, TimedSection } from '#config/document.ts';
import { ConfigError, pathText } from '#config/faults.ts';
import type { ConfigReader } from '#config/load.ts';
import type { Config } from '#config/schema.ts';
import type { SectionExpiry } from '#config/section_expiry.ts';
import type { FileContent } from '#config/watch.ts';
import type { Labels } from '#core/selector.ts';
import type { KernelClient } from '#kernel/client.ts';
import { desiredKernel } from './desired_kernel.ts';

/** Applies a configuration to one part of the agent. */
export type ConfigFollower = (config: Config) => void | Promise<void>;

export interface ConfigLoopOptions {
  /** Source of the documents, which the status shows. */
  readonly origin: Pick<ConfigStatus, 'file' | 'configMap'>;
  readonly reader: ConfigReader;
  readonly expiry: SectionExpiry;
  /** Labels of this node that are known at startup. */
  readonly nodeLabels: Labels;
  /** Followers, keyed by the document section that each of them applies. They are called in insertion order. */
  readonly followers: Readonly<Record<string, ConfigFollower>>;
  /** Client of the kernel thread. It is called after all followers. */
  readonly kernel: Pick<KernelClient, 'labelPods' | 'configure'>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Called for each document that is rejected after the agent has started. */
  readonly rejected?: (error: ConfigError, version: ConfigMapVersion | undefined) => void;
}

/**
 * Handles documents one at a time. An invalid document changes nothing. If one part of the agent fails to apply a
 * document, the other parts still apply it.
 */
export class ConfigLoop implements AsyncDisposable {
  readonly #options: ConfigLoopOptions;
  readonly #active: ActiveConfig;
  #nodeLabels: Labels;
  #status: ConfigStatus;
  /** Version of the ConfigMap that the active document comes from. */
  #version: ConfigMapVersion | undefined;
  #isApplied = false;
  #isClosed = false;
  /** Resolves once all queued calls are done. */
  #last: Promise<void> = Promise.resolve();

  constructor(options: ConfigLoopOptions) {
    const { origin, reader, expiry, nodeLabels } = options;
    this.#options = options;
    this.#nodeLabels = nodeLabels;
    this.#active = new ActiveConfig({ reader, expiry, ended: (sections) => this.#revert(sections) });
    this.#status = { ...origin, generation: 0, successful: false, appliedMs: 0, notice: '', rejected: null };
  }

  get status(): ConfigStatus {
    return this.#status;
  }

  /** Returns the active configuration as a document. */
  get document(): Mapping {
    return this.#active.config.document;
  }

  /** Whether a configuration, possibly the defaults, has been applied. */
  get isApplied(): boolean {
    return this.#isApplied;
  }

  /** Returns the RFC 3339 time at which the next section of the probe expires, or null if no section expires. */
  until(probe: string): string | null {
    return this.#active.until(probe);
  }

  /**
   * Validates a document without applying it.
   * @throws {ConfigError} if the document is invalid or could not be read
   */
  check(content: FileContent): void {
    this.#active.check(textOf(content));
  }

  /**
   * Applies the first document, or the defaults if there is none.
   * @throws {ConfigError} if the document is invalid or could not be read
   */
  begin(content?: FileContent): Promise<void> {
    return this.#queue(async () => {
      if (content !== undefined) await this.#active.take(textOf(content), this.#nodeLabels);
      await this.#accept();
    });
  }

  /**
   * Applies the defaults, unless a configuration has already been applied. Called when the first document is late or
   * invalid.
   * @param why reason why the document is late
   */
  fallBack(why = 'the Kubernetes API has not responded yet'): Promise<void> {
    return this.#queue(async () => {
      if (this.#isApplied) return;
      if (this.#status.rejected === null) {
        this.#reject([{ path: '', value: '', allowed: `cannot be read: ${why}` }]);
      }
      this.#options.log('warn', 'there is no valid configuration yet; the defaults apply until there is one');
      await this.#apply();
    });
  }

  /** Applies a new document. If it is invalid, the error is reported and the previous document stays active. */
  reload(content: FileContent, version?: ConfigMapVersion): Promise<void> {
    return this.#queue(() =>
      this.#attempt(version, async () => {
        await this.#active.take(textOf(content), this.#nodeLabels);
        this.#version = version;
        return true;
      }),
    );
  }

  /**
   * Resolves the active document for new labels of the node, and applies the result if it differs.
   * @param labels labels that take precedence over those known at startup
   */
  setNodeLabels(labels: Labels): Promise<void> {
    return this.#queue(() =>
      this.#attempt(this.#version, async () => {
        const { config } = this.#active;
        this.#nodeLabels = { ...this.#options.nodeLabels, ...labels };
        await this.#active.relabel(this.#nodeLabels);
        return !isDeepStrictEqual(config, this.#active.config);
      }),
    );
  }

  /**
   * Stops applying documents. Resolves once the document in progress has been applied. Queued documents are dropped.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#active[Symbol.dispose]();
    await this.#last;
  }

  /** Queues a call. Calls run in order, one at a time. A failure rejects only the promise of the failed call. */
  #queue(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(async () => {
      if (!this.#isClosed) await work();
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  /**
   * Applies a configuration, or reports why it is invalid.
   * @param take activates a document, and returns whether the active configuration changed
   */
  async #attempt(version: ConfigMapVersion | undefined, take: () => Promise<boolean>): Promise<void> {
    const { log, rejected } = this.#options;
    try {
      if (!(await take())) return;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#reject(error.faults);
      log('error', `the new configuration is not applied:\n${error.message}`);
      rejected?.(error, version);
      return;
    }
    await this.#accept();
    log('info', `configuration ${this.#status.generation} applied`);
  }

  /**
   * Applies the active document again without its expired sections. The generation does not change, because the
   * document is the same.
   */
  #revert(sections: readonly TimedSection[]): void {
    for (const { path } of sections) this.#options.log('info', `${pathText(path)}: expired`);
    void this.#queue(async () => {
      const faults = await this.#apply();
      if (faults.length > 0) this.#reject(faults);
    });
  }

  async #accept(): Promise<void> {
    const faults = await this.#apply();
    const generation = this.#status.generation + 1;
    this.#status = { ...this.#status, generation, successful: true, appliedMs: Date.now() };
    if (faults.length > 0) this.#reject(faults);
  }

  /** Applies the active configuration. Returns an error for each part of the agent that failed to apply it. */
  async #apply(): Promise<Fault[]> {
    const { config } = this.#active;
    const { followers, log } = this.#options;
    const faults: Fault[] = [];
    for (const [section, follow] of Object.entries(followers)) {
      try {
        await follow(config);
      } catch (error) {
        const allowed = `could not be applied, but everything else was: ${(error as Error).message}`;
        log('error', `${section}: ${allowed}`);
        faults.push({ path: section, value: '', allowed });
      }
    }
    await this.#tellKernel(config);
    this.#isApplied = true;
    return faults;
  }

  async #tellKernel(config: Config): Promise<void> {
    const { kernel, log } = this.#options;
    // Each request is sent even if the other one fails. A failure means that the kernel thread has exited. The next
    // kernel thread receives the latest requests.
    const told = await Promise.allSettled([kernel.labelPods(config.labels), kernel.configure(desiredKernel(config))]);
    const failure = told.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined)
      log('warn', `the probes change when the next kernel thread starts: ${failure.reason.message}`);
  }

  #reject(faults: readonly Fault[]): void {
    this.#status = { ...this.#status, successful: false, rejected: { at: new Date().toISOString(), faults } };
  }
}

/**
 * Returns the text of a document.
 * @throws {ConfigError} if the content could not be read
 */
function textOf(content: FileContent): string {
  if ('error' in content) throw new ConfigError([{ path: '', value: '', allowed: `cannot be read: ${content.error}` }]);
  return content.text;
}
