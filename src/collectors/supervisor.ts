/** Opens, changes and closes probes as configured, and retries failed ones with backoff. */

import { isDeepStrictEqual } from 'node:util';
import type { ProbeStatus } from '#api/probes.ts';
import type { ProbeState } from '#api/words.ts';
import { withRunningDeadline } from '#core/deadline.ts';
import { NotYet, Unsupported } from '#core/reader.ts';
import type { AnyProbe, DesiredProbe, ProbeContext, RunningProbe } from '#probe/contract.ts';
import type { EventSet, Publish } from '#probe/event.ts';
import { FieldChoice } from '#probe/fields.ts';
import type { Detail, MetricDescriptor, MetricSet } from '#probe/metric.ts';
import type { OfferRecord, RecordRules } from '#probe/records.ts';
import type { RetainedStates } from '#probe/retained.ts';
import type { ProgramStatus } from '#probe/status.ts';
import type { Sources } from '#sources/sources.ts';
import type { Aggregator } from './aggregate.ts';
import { Budget } from './budget.ts';
import { changedSettings } from './changed_settings.ts';
import { Scope } from './scope.ts';

export function programReports(programs: readonly ProgramStatus[]): ProbeStatus['programs'] {
  return programs.map((program) => ({ ...program, runs: Number(program.runs), missed: Number(program.missed) }));
}

/** A running probe, with the properties that a scrape needs. */
export interface ActiveProbe {
  readonly name: string;
  readonly probe: RunningProbe<MetricSet>;
  readonly metrics: boolean;
  collected(seconds: number, error: Error | undefined): void;
}

export interface SupervisorOptions {
  readonly definitions: readonly AnyProbe[];
  readonly sources: Sources;
  readonly context: ProbeContext;
  readonly retained: RetainedStates;
  readonly aggregator: Aggregator;
  readonly publish: (probe: string) => Publish<EventSet>;
  /** @param rules record rules of the configuration; undefined for a probe without records */
  readonly record: (probe: string, rules: RecordRules | undefined) => OfferRecord;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Delay in milliseconds before the first retry of a failed probe. It doubles with each further retry. */
  readonly retryFirstMs?: number;
  /** Delay in milliseconds before the first retry of a probe that exceeded its budget. */
  readonly budgetPauseFirstMs?: number;
  readonly budgetEveryMs?: number;
  readonly lookEveryMs?: number;
  /** Returns why the run times of BPF programs are not measured; undefined if they are. */
  readonly runTimesMissing?: () => string | undefined;
  /**
   * Maximum number of milliseconds until a probe has opened. Time in which the verifier blocks the thread does not count.
   */
  readonly openMs?: number | undefined;
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 60_000;
const OPEN_DEADLINE_MS = 30_000;
/** Interval in milliseconds between checks for a missing feature that may become available. Each check reads a file. */
const LOOK_EVERY_MS = 10_000;
const BUDGET_EVERY_MS = 10_000;
const BUDGET_PAUSE_FIRST_MS = 30_000;
const BUDGET_PAUSE_MAX_MS = 30 * 60_000;

/**
 * Opens and closes probes to reach the desired set. Probes are handled independently and do not wait for each other.
 */
export class Supervisor implements AsyncDisposable {
  readonly #options: SupervisorOptions;
  readonly #slots: readonly Slot[];

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#slots = options.definitions.map((definition) => new Slot(definition, options));
  }

  /** Sets the desired probes, by name. Resolves once every probe has reached its desired state. */
  async apply(desired: ReadonlyMap<string, DesiredProbe>): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.want(desired.get(slot.name))));
  }

  active(): ActiveProbe[] {
    return this.#slots.flatMap((slot) => slot.active ?? []);
  }

  status(): ProbeStatus[] {
    const runTimesMissing = this.#options.runTimesMissing?.();
    return this.#slots.map((slot) => slot.status(runTimesMissing));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.apply(new Map());
  }
}

interface Instance {
  desired: DesiredProbe;
  readonly scope: Scope;
  readonly active: ActiveProbe;
  readonly openedMs: number;
  budget: Budget | undefined;
}

/** Returns which series a page shows, as the aggregator expects it. */
function shownOf(metrics: MetricSet, { settings, detail, fields }: DesiredProbe): [Detail, FieldChoice | undefined] {
  const chosen = settings.metrics ? fields : [];
  return [detail, chosen && new FieldChoice(metrics, chosen)];
}

/** Current and desired state of one probe. */
class Slot {
  readonly #definition: AnyProbe;
  readonly #options: SupervisorOptions;
  /** Whether the probe has per-Pod metrics. */
  readonly #isOfPods: boolean;
  #desired: DesiredProbe | undefined;
  #instance: Instance | undefined;
  /**
   * Desired state that failed or is unsupported. It is not retried until the desired state changes or a timer expires.
   */
  #refused: DesiredProbe | undefined;
  #state: ProbeState = 'stopped';
  #reason = '';
  #since = new Date();
  #moving: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs: number;
  /** How the probe exceeded its budget, which is why it must be closed; undefined if it is within its budget. */
  #exceeded: string | undefined;
  #budgetPauseMs: number;
  #collectSeconds: number | null = null;
  #collectError: Error | undefined;

  constructor(definition: AnyProbe, options: SupervisorOptions) {
    this.#definition = definition;
    this.#isOfPods = Object.values<MetricDescriptor>(definition.metrics).some(({ scope }) => scope === 'pod');
    this.#options = options;
    this.#retryMs = options.retryFirstMs ?? RETRY_FIRST_MS;
    this.#budgetPauseMs = options.budgetPauseFirstMs ?? BUDGET_PAUSE_FIRST_MS;
  }

  get name(): string {
    return this.#definition.name;
  }

  get active(): ActiveProbe | undefined {
    return this.#instance?.active;
  }

  want(desired: DesiredProbe | undefined): Promise<void> {
    if (!isDeepStrictEqual(desired, this.#desired)) {
      clearTimeout(this.#retry);
      this.#retryMs = this.#options.retryFirstMs ?? RETRY_FIRST_MS;
      this.#budgetPauseMs = this.#options.budgetPauseFirstMs ?? BUDGET_PAUSE_FIRST_MS;
      this.#exceeded = undefined;
      this.#refused = undefined;
      this.#desired = desired;
    }
    return this.#move();
  }

  /**
   * Returns the current state of the probe.
   * @param runTimesMissing why the run times of BPF programs are not measured; undefined if they are
   */
  status(runTimesMissing: string | undefined): ProbeStatus {
    const { name, kind, cost } = this.#definition;
    const probe = this.#instance?.active.probe;
    const health = probe?.health();
    const { visibilityGap } = this.#options.sources.netns;
    const hasBudget = this.#instance?.desired.budget !== undefined && kind === 'ebpf';
    const reasons = [
      ...(health?.degraded ?? []),
      ...(hasBudget && runTimesMissing !== undefined
        ? [`only the time of collections counts against the budget: ${runTimesMissing}`]
        : []),
      ...(visibilityGap !== undefined && this.#isOfPods ? [visibilityGap] : []),
      ...(this.#collectError === undefined ? [] : [`the last collection failed: ${this.#collectError.message}`]),
    ];
    const isDegraded = this.#state === 'running' && reasons.length > 0;
    const note = health?.note ?? '';
    return {
      name,
      kind,
      cost,
      state: isDegraded ? 'degraded' : this.#state,
      reason: isDegraded ? [...reasons, note].filter(Boolean).join('; ') : this.#reason || note,
      reader: health?.reader ?? '',
      since: this.#since.toISOString(),
      collectSeconds: this.#collectSeconds,
      measured: runTimesMissing === undefined,
      programs: programReports(probe?.programs?.() ?? []),
    };
  }

  /** Moves toward the desired state one step at a time. A step always follows the latest desired state. */
  #move(): Promise<void> {
    this.#moving ??= this.#steps().finally(() => {
      this.#moving = undefined;
    });
    return this.#moving;
  }

  async #steps(): Promise<void> {
    while (!this.#isAtRest()) {
      if (this.#instance !== undefined) {
        if (!this.#change(this.#instance)) await this.#close(this.#instance);
      } else if (this.#desired !== undefined && this.#exceeded !== undefined)
        this.#suspend(this.#desired, this.#exceeded);
      else if (this.#desired !== undefined) await this.#open(this.#desired);
      else this.#enter('stopped', '');
    }
  }

  #isAtRest(): boolean {
    if (this.#instance !== undefined) return this.#instance.desired === this.#desired && this.#exceeded === undefined;
    if (this.#desired === undefined) return this.#state === 'stopped';
    return this.#refused === this.#desired;
  }

  async #open(desired: DesiredProbe): Promise<void> {
    this.#enter('starting', '');
    const { name, kind, metrics } = this.#definition;
    const { context, retained, publish, record, log } = this.#options;
    const warn = (message: string) => log('warn', `${name}: ${message}`);
    const scope = new Scope({
      probe: name,
      context,
      retained,
      publish: publish(name),
      record: record(name, desired.settings.records),
      warn,
    });
    const { openMs = OPEN_DEADLINE_MS } = this.#options;
    try {
      const opening = this.#definition.open(scope, this.#options.sources, desired.settings);
      const probe: RunningProbe<MetricSet> = await withRunningDeadline(
        opening,
        openMs,
        `did not open within ${openMs / 1000} s`,
      );
      const [detail, fields] = shownOf(metrics, desired);
      this.#options.aggregator.addProbe(name, metrics, detail, kind === 'ebpf', fields);
      this.#collectSeconds = null;
      this.#collectError = undefined;
      const active = this.#activate(probe);
      this.#instance = { desired, scope, active, openedMs: performance.now(), budget: this.#watch(probe, desired) };
      this.#enter('running', '');
    } catch (error) {
      await this.#release(scope);
      this.#refuse(desired, error as Error);
    }
  }

  /** Applies the desired state to the running probe. Returns false if the probe has to be closed. */
  #change(instance: Instance): boolean {
    const { desired: before, scope, active } = instance;
    const desired = this.#desired;
    if (desired === undefined || this.#exceeded !== undefined) return false;
    const changed = changedSettings(before.settings, desired.settings);
    if (changed.length > 0 && !this.#applies(active.probe, desired, changed)) return false;
    const { aggregator, record } = this.#options;
    const { metrics } = this.#definition;
    if (changed.includes('records')) scope.record = record(this.name, desired.settings.records);
    const shown = ({ settings, detail, fields }: DesiredProbe) => [settings.metrics, detail, fields];
    if (!isDeepStrictEqual(shown(before), shown(desired)))
      aggregator.changeProbe(this.name, metrics, ...shownOf(metrics, desired));
    if (before.budget !== desired.budget) {
      instance.budget?.[Symbol.dispose]();
      instance.budget = this.#watch(active.probe, desired);
    }
    instance.desired = desired;
    return true;
  }

  /** @param changed keys of the settings that have changed */
  #applies(probe: RunningProbe<MetricSet>, { settings }: DesiredProbe, changed: readonly string[]): boolean {
    const { inPlace = [] } = this.#definition;
    if (!changed.every((key) => inPlace.includes(key))) return false;
    try {
      if (probe.apply?.(settings) !== true) return false;
    } catch (error) {
      this.#options.log('error', `${this.name}: could not apply ${changed.join(', ')}: ${(error as Error).message}`);
      return false;
    }
    this.#options.log('info', `${this.name}: applied ${changed.join(', ')}`);
    return true;
  }

  #watch(probe: RunningProbe<MetricSet>, { budget }: DesiredProbe): Budget | undefined {
    if (budget === undefined) return undefined;
    return new Budget({
      share: budget,
      probe,
      everyMs: this.#options.budgetEveryMs ?? BUDGET_EVERY_MS,
      exceeded: (spent) => {
        this.#exceeded = spent;
        void this.#move();
      },
    });
  }

  #activate(probe: RunningProbe<MetricSet>): ActiveProbe {
    const isShown = () => this.#instance?.desired.settings.metrics === true;
    return {
      name: this.name,
      probe,
      get metrics() {
        return isShown();
      },
      collected: (seconds, error) => {
        this.#collectSeconds = seconds;
        this.#instance?.budget?.collected(seconds);
        if (error !== undefined && this.#collectError?.message !== error.message) {
          this.#options.log('warn', `${this.name}: the collection failed: ${error.message}`);
        }
        this.#collectError = error;
      },
    };
  }

  #refuse(desired: DesiredProbe, error: Error): void {
    this.#refused = desired;
    if (error instanceof Unsupported) {
      this.#enter('unsupported', error.message);
      if (error instanceof NotYet) this.#lookFor(error);
      return;
    }
    this.#enter('failed', error.message);
    this.#retryIn(this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  /** Enters the failed state after the probe exceeded its budget, and schedules a retry. */
  #suspend(desired: DesiredProbe, spent: string): void {
    const pauseMs = this.#budgetPauseMs;
    this.#exceeded = undefined;
    this.#refused = desired;
    this.#enter('failed', `${spent}; it will be retried at ${new Date(Date.now() + pauseMs).toISOString()}`);
    this.#retryIn(pauseMs);
    this.#budgetPauseMs = Math.min(pauseMs * 2, BUDGET_PAUSE_MAX_MS);
  }

  #lookFor(missing: NotYet): void {
    this.#retry = setInterval(() => {
      if (!missing.isThere()) return;
      clearInterval(this.#retry);
      this.#refused = undefined;
      void this.#move();
    }, this.#options.lookEveryMs ?? LOOK_EVERY_MS);
    this.#retry.unref();
  }

  #retryIn(pauseMs: number): void {
    this.#retry = setTimeout(() => {
      this.#refused = undefined;
      void this.#move();
    }, pauseMs);
    this.#retry.unref();
  }

  async #close(instance: Instance): Promise<void> {
    this.#enter('stopping', '');
    // If the probe ran for longer than its next pause would last, the backoff restarts with the shortest pause.
    const first = this.#options.budgetPauseFirstMs ?? BUDGET_PAUSE_FIRST_MS;
    if (performance.now() - instance.openedMs > this.#budgetPauseMs) this.#budgetPauseMs = first;
    instance.budget?.[Symbol.dispose]();
    this.#options.aggregator.removeProbe(this.name);
    await this.#release(instance.scope);
    this.#instance = undefined;
    this.#collectError = undefined;
  }

  async #release(scope: Scope): Promise<void> {
    try {
      await scope[Symbol.asyncDispose]();
    } catch (error) {
      this.#options.log('error', `${this.name}: could not be closed completely: ${(error as Error).message}`);
    }
  }

  #enter(state: ProbeState, reason: string): void {
    if (state === this.#state && reason === this.#reason) return;
    this.#state = state;
    this.#reason = reason;
    this.#since = new Date();
    if (state === 'unsupported' || state === 'failed') this.#options.log('warn', `${this.name}: ${state}: ${reason}`);
    else if (state === 'running' || state === 'stopped') this.#options.log('info', `${this.name}: ${state}`);
  }
}
