import type { BpfObject } from 'bpf-napi';
import type { ObjectLayout } from '#bpf/layout.ts';
import { BpfSource, type ObjectSpec } from '#sources/bpf/source.ts';

/** An attempt of an agent to load an object. */
export interface Load {
  readonly bpf: BpfSource;
  readonly spec: ObjectSpec;
  /** Undefined if the kernel refused it. */
  readonly object: BpfObject | undefined;
}

/** BPF objects that agents of this process have loaded. */
export interface Loads extends Disposable {
  /** The most recently loaded object. @throws if none was loaded */
  readonly last: BpfObject;
}

/** Until disposed, reports every attempt of this process's agents to load an object. */
export function watchLoads(attempted: (load: Load) => void): Disposable {
  const { load } = BpfSource.prototype;
  BpfSource.prototype.load = async function watched<L extends ObjectLayout>(this: BpfSource, spec: ObjectSpec<L>) {
    let object: BpfObject | undefined;
    try {
      object = await load.call(this, spec);
      return object;
    } finally {
      attempted({ bpf: this, spec, object });
    }
  };
  return {
    [Symbol.dispose]: () => {
      BpfSource.prototype.load = load;
    },
  };
}

/** Until disposed, records the objects that agents of this process load from a file. */
export function followLoads(file: string): Loads {
  let last: BpfObject | undefined;
  const watched = watchLoads(({ spec, object }) => {
    if (spec.file === file && object !== undefined) last = object;
  });
  return {
    get last() {
      if (last === undefined) throw new Error(`no agent has loaded ${file}`);
      return last;
    },
    [Symbol.dispose]: () => watched[Symbol.dispose](),
  };
}
