import { guarded } from './errors.ts';
import type { NativeObject } from './native.ts';

/**
 * An attachment of a program to a hook, a cgroup or a slot of a PROG_ARRAY. It is removed by `close()`, or by the
 * object's `detach()` or `close()`. Garbage collection of a link does not remove the attachment, which belongs to the
 * object.
 */
export class BpfLink implements Disposable {
  readonly program: string;
  /** Keeps the object alive while its link is in use. */
  readonly owner: object;
  readonly #native: NativeObject;
  readonly #id: number;

  constructor(owner: object, handle: NativeObject, program: string, id: number) {
    this.owner = owner;
    this.program = program;
    this.#native = handle;
    this.#id = id;
  }

  /** Removes only this attachment. May be called repeatedly, and while the object attaches another program. */
  close(): void {
    guarded('BPF_ATTACH', () => this.#native.detachOne(this.#id));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
