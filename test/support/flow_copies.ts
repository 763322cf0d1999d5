import { BpfLink, BpfObject } from 'bpf-napi';
import { FILE } from '#bpf/generated/tcp_ends.ts';
import type { ObjectLayout } from '#bpf/layout.ts';
import { BpfSource, type ObjectSpec } from '#sources/bpf/source.ts';

/** The second and third copies of the handler for closed sockets. */
const LATER: readonly string[] = ['tcp_end_again', 'tcp_end_third'];

export interface Copies {
  /** Number of copies of the handler that are attached: 1 to 3. */
  readonly copies: number;
  /** Number of loop iterations by which the first copy is delayed at each change of a socket's state. */
  readonly delay: number;
}

/**
 * Until disposed, makes agents of this process attach only some copies of the handler for closed sockets, and delays
 * the first copy. The kernel does not run a program that is already running on the same CPU, so it skips the delayed
 * copy more often.
 */
export function withCopies({ copies, delay }: Copies): Disposable {
  const { load } = BpfSource.prototype;
  const { attach } = BpfObject.prototype;
  const left = LATER.slice(copies - 1);
  BpfSource.prototype.load = function slowed<L extends ObjectLayout>(this: BpfSource, spec: ObjectSpec<L>) {
    const constants = (
      spec.file === FILE ? { ...spec.constants, delay } : spec.constants
    ) as ObjectSpec<L>['constants'];
    return load.call(this, { ...spec, ...(constants === undefined ? {} : { constants }) });
  };
  BpfObject.prototype.attach = async function some(this: BpfObject, program) {
    return left.includes(program) ? NO_LINK : attach.call(this, program);
  };
  return {
    [Symbol.dispose]: () => {
      BpfSource.prototype.load = load;
      BpfObject.prototype.attach = attach;
    },
  };
}

/** Placeholder for the link of a program that is not attached. */
const NO_LINK: BpfLink = Object.assign(Object.create(BpfLink.prototype) as BpfLink, { close: () => undefined });
