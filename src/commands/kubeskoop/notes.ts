import type { Given } from './config.ts';

/** What who comes from KubeSkoop has to know of one thing in its configuration. */
export interface Note extends Given<unknown> {
  /** It is not in the converted configuration. */
  readonly isLeftOut: boolean;
  /** Why, or what it means here, and what to do. */
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

  /** It is converted, and not the same here. */
  tell({ path, value }: Given<unknown>, text: string): void {
    this.#list.push({ path, value, isLeftOut: false, text });
  }
}
