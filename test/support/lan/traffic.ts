import { setTimeout as wait } from 'node:timers/promises';

/** What an application has done, in its own words. */
export interface Figures {
  runs: number;
  connections: number;
  requests: number;
  bytes: number;
  /** What it complained of; at most ERRORS_MAX of them. */
  readonly errors: string[];
}

const ERRORS_MAX = 100;

/** A client of an application that does the same again and again. */
export interface Activity {
  readonly app: string;
  /** The namespace in which it runs. */
  readonly where: string;
  /** Rest between two runs. */
  readonly pauseMs: number;
  /** @throws where the application says that something went wrong */
  run(): Promise<Partial<Omit<Figures, 'errors' | 'runs'>>>;
}

/** Runs activities beside each other, each one again and again, until it is stopped. */
export class Traffic implements AsyncDisposable {
  readonly figures = new Map<string, Figures>();
  readonly #ending = new AbortController();
  readonly #loops: Promise<void>[];

  constructor(activities: readonly Activity[]) {
    this.#loops = activities.map((activity, index) => this.#loop(activity, index / activities.length));
  }

  /** Lets every run end that has begun. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#loops);
  }

  get errors(): string[] {
    return [...this.figures].flatMap(([app, { errors }]) => errors.map((error) => `${app}: ${error}`));
  }

  /** @param phase from 0 to 1: not all begin at once */
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
