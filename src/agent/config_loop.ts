/** Handles a new configuration: it is taken, validated, applied and reported, or rejected while the one before stays active. */

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

/** Brings one part of the agent to a configuration. */
export type ConfigFollower = (config: Config) => void | Promise<void>;

export interface ConfigLoopOptions {
  /** Source of documents, for the status. */
  readonly origin: Pick<ConfigStatus, 'file' | 'configMap'>;
  readonly reader: ConfigReader;
  readonly expiry: SectionExpiry;
  /** Labels of this node that are known at the start. */
  readonly nodeLabels: Labels;
  /** Keyed by the section of the document that each follows; called in this order. */
  readonly followers: Readonly<Record<string, ConfigFollower>>;
  /** Called after the followers. */
  readonly kernel: Pick<KernelClient, 'labelPods' | 'configure'>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Called for each document that is rejected after the start. */
  readonly rejected?: (error: ConfigError, version: ConfigMapVersion | undefined) => void;
}

/**
 * Leads from a document to an agent that follows it, one document after the other: take, validate, apply, report. A faulty document changes
 * nothing, and a part of the agent that fails to follow keeps no other part from following.
 */
export class ConfigLoop implements AsyncDisposable {
  readonly #options: ConfigLoopOptions;
  readonly #active: ActiveConfig;
  #nodeLabels: Labels;
  #status: ConfigStatus;
  /** Version of the active document. */
  #version: ConfigMapVersion | undefined;
  #isApplied = false;
  #isClosed = false;
  /** Resolves once everything requested so far is done. */
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

  /** The active configuration, as a document. */
  get document(): Mapping {
    return this.#active.config.document;
  }

  /** A configuration was applied, even if it was all defaults. */
  get isApplied(): boolean {
    return this.#isApplied;
  }

  /** Time in RFC 3339 when the probe reverts by itself; null where it does not. */
  until(probe: string): string | null {
    return this.#active.until(probe);
  }

  /** Validates without applying. @throws {ConfigError} for a faulty document */
  check(content: FileContent): void {
    this.#active.check(textOf(content));
  }

  /**
   * Applies the first document; without one, all defaults.
   * @throws {ConfigError} for a faulty document
   */
  begin(content?: FileContent): Promise<void> {
    return this.#queue(async () => {
      if (content !== undefined) await this.#active.take(textOf(content), this.#nodeLabels);
      await this.#accept();
    });
  }

  /**
   * Applies all defaults, unless a document was applied before: its source is late, or the document is faulty.
   * @param why the source is late
   */
  fallBack(why = 'the Kubernetes API does not answer yet'): Promise<void> {
    return this.#queue(async () => {
      if (this.#isApplied) return;
      if (this.#status.rejected === null) {
        this.#reject([{ path: '', value: '', allowed: `cannot be read: ${why}` }]);
      }
      this.#options.log('warn', 'there is no configuration to apply: all defaults hold until there is one');
      await this.#apply();
    });
  }

  /** Takes another document. A faulty one is reported, and the active one stays. */
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
   * Resolves the active document for other labels of the node, and applies it where they choose other overrides.
   * @param labels override those that were known at the start
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

  /** Resolves once the document that is being applied is done; later ones are no longer applied. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#active[Symbol.dispose]();
    await this.#last;
  }

  /** Runs calls one after the other, in their order. A failure reaches its caller and no later call. */
  #queue(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(async () => {
      if (!this.#isClosed) await work();
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** @param take says whether the active configuration has changed */
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

  /** The document is the same, so there is no new generation. */
  #revert(sections: readonly TimedSection[]): void {
    for (const { path } of sections) this.#options.log('info', `${pathText(path)}: its time is over`);
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

  /**
   * Returns the active configuration; all defaults before a document was taken. Applying it returns a fault for each part that did not
   * follow.
   */
  async #apply(): Promise<Fault[]> {
    const { config } = this.#active;
    const { followers, log } = this.#options;
    const faults: Fault[] = [];
    for (const [section, follow] of Object.entries(followers)) {
      try {
        await follow(config);
      } catch (error) {
        const allowed = `could not be applied; everything else is: ${(error as Error).message}`;
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
    // Both run, even if the first fails: a thread that is lost in the meantime is replaced, and the next one gets the last request.
    const told = await Promise.allSettled([kernel.labelPods(config.labels), kernel.configure(desiredKernel(config))]);
    const failure = told.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) log('warn', `the probes follow with the next kernel thread: ${failure.reason.message}`);
  }

  #reject(faults: readonly Fault[]): void {
    this.#status = { ...this.#status, successful: false, rejected: { at: new Date().toISOString(), faults } };
  }
}

/** @throws {ConfigError} where it could not be read */
function textOf(content: FileContent): string {
  if ('error' in content) throw new ConfigError([{ path: '', value: '', allowed: `cannot be read: ${content.error}` }]);
  return content.text;
}
