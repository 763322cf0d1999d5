import { setTimeout as wait } from 'node:timers/promises';

/** Amount of work that an application has done, and the errors that it has reported. */
export interface Figures {
  runs: number;
  connections: number;
  requests: number;
  bytes: number;
  /** Errors of the application, at most ERRORS_MAX. */
  readonly errors: string[];
}

const ERRORS_MAX = 100;

/** A client that repeats the same work. */
export interface Activity {
  readonly app: string;
  /** Name of the namespace in which the client runs. */
  readonly where: string;
  /** Pause between two runs, in milliseconds. */
  readonly pauseMs: number;
  /** @throws if the application reports an error */
  run(): Promise<Partial<Omit<Figures, 'errors' | 'runs'>>>;
}

/** Runs activities in parallel, and repeats each until disposed. */
export class Traffic implements AsyncDisposable {
  readonly figures = new Map<string, Figures>();
  readonly #ending = new AbortController();
  readonly #loops: Promise<void>[];

  constructor(activities: readonly Activity[]) {
    this.#loops = activities.map((activity, index) => this.#loop(activity, index / activities.length));
  }

  /** Waits until all runs that have started are complete. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#loops);
  }

  get errors(): string[] {
    return [...this.figures].flatMap(([app, { errors }]) => errors.map((error) => `${app}: ${error}`));
  }

  /** @param phase number from 0 to 1 that delays the first run so that not all activities start together */
  async #loop(activity: Activity, phase: number): Promise<void> {
    const { signal } = this.#ending;
    const rest = (ms: number) => wait(ms, undefined, { signal }).catch(() => undefined);
    const figures = this.figures.get(activity.app) ?? { runs: 0, connections: 0, requests: 0, bytes: 0, errors: [] };
    this.figures.set(activity.app, figures);
    await rest(activity.pauseMs * phase);
    while (!signal.aborted) {
      try {
        const { connections = 0, requests = 0, bytes = 0 } = await activity.run();
        figures.connections += connections;
        figures.requests += requests;
        figures.bytes += bytes;
      } catch (error) {
        if (figures.errors.length < ERRORS_MAX) figures.errors.push(`${activity.where}: ${(error as Error).message}`);
      }
      figures.runs++;
      await rest(activity.pauseMs);
    }
  }
}
