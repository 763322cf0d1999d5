import { guarded } from './errors.ts';
import type { NativeObject } from './native.ts';

/**
 * One attachment of a program: to a hook, to a cgroup, in a PROG_ARRAY. It ends with `close()`, or with the object's
 * `detach()` or `close()`, whichever comes first. One that nobody keeps stays: it belongs to the object.
 */
export class BpfLink implements Disposable {
  readonly program: string;
  /** Held so that nobody collects the object while its link is in use. */
  readonly owner: object;
  readonly #native: NativeObject;
  readonly #id: number;

  constructor(owner: object, handle: NativeObject, program: string, id: number) {
    this.owner = owner;
    this.program = program;
    this.#native = handle;
    this.#id = id;
  }

  /** Takes only this attachment away, also while the object attaches another. Closing twice is fine. */
  close(): void {
    guarded('BPF_ATTACH', () => this.#native.detachOne(this.#id));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
