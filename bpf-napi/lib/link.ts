import { guarded } from './errors.ts';
import type { NativeObject } from './native.ts';

/**
 * One attachment of a program: to a hook, to a cgroup, in a PROG_ARRAY. It ends with `close()`, or with the object's
 * `detach()` or `close()`, whichever comes first. A link without references stays: it belongs to the object.
 */
export class BpfLink implements Disposable {
  readonly program: string;
  /** Reference that prevents collection of the object while its link is in use. */
  readonly owner: object;
  readonly #native: NativeObject;
  readonly #id: number;

  constructor(owner: object, handle: NativeObject, program: string, id: number) {
    this.owner = owner;
    this.program = program;
    this.#native = handle;
    this.#id = id;
  }

  /** Removes only this attachment, even while the object attaches another. Closing twice is allowed. */
  close(): void {
    guarded('BPF_ATTACH', () => this.#native.detachOne(this.#id));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
