import type { Given } from './config.ts';

/** A warning about one part of a KubeSkoop configuration. */
export interface Note extends Given<unknown> {
  /** Whether the part is missing from the converted configuration. */
  readonly isLeftOut: boolean;
  /** Why the part is left out or how its meaning changes, and what to do about it. */
  readonly text: string;
}

export class Notes {
  readonly #list: Note[] = [];

  get all(): readonly Note[] {
    return this.#list;
  }

  get leftOut(): number {
    return this.#list.filter(({ isLeftOut }) => isLeftOut).length;
  }

  leaveOut({ path, value }: Given<unknown>, text: string): void {
    this.#list.push({ path, value, isLeftOut: true, text });
  }

  /** Adds a warning that the part is converted, but that its meaning changes. */
  tell({ path, value }: Given<unknown>, text: string): void {
    this.#list.push({ path, value, isLeftOut: false, text });
  }
}
