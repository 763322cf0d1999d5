import { guarded } from './errors.ts';
import type { NativeObject } from './native.ts';

/**
 * An attachment of a program to a hook, to a cgroup or in a PROG_ARRAY. It is removed by its own `close()`, or by the
 * object's `detach()` or `close()`. An unreferenced link stays attached because it belongs to the object.
 */
export class BpfLink implements Disposable {
  readonly program: string;
  /** Prevents garbage collection of the object while its link is in use. */
  readonly owner: object;
  readonly #native: NativeObject;
  readonly #id: number;

  constructor(owner: object, handle: NativeObject, program: string, id: number) {
    this.owner = owner;
    this.program = program;
    this.#native = handle;
    this.#id = id;
  }

  /** Removes only this attachment. May be called more than once, and while the object attaches another program. */
  close(): void {
    guarded('BPF_ATTACH', () => this.#native.detachOne(this.#id));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
