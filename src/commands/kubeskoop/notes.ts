import type { Given } from './config.ts';

/** A remark for users of KubeSkoop on one part of their configuration. */
export interface Note extends Given<unknown> {
  /** The part is missing in the converted configuration. */
  readonly isLeftOut: boolean;
  /** Reason, or the meaning here, and what to do. */
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

  /** The part is converted, but has another meaning here. */
  tell({ path, value }: Given<unknown>, text: string): void {
    this.#list.push({ path, value, isLeftOut: false, text });
  }
}
