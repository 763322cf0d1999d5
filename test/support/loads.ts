import type { BpfObject } from 'bpf-napi';
import type { ObjectLayout } from '#bpf/layout.ts';
import { BpfSource, type ObjectSpec } from '#sources/bpf/source.ts';

/** BPF objects that agents of this process have loaded. */
export interface Loads extends Disposable {
  /** The most recently loaded object. @throws if none was loaded */
  readonly last: BpfObject;
}

/** Until disposed, records the objects that agents of this process load from a file. */
export function followLoads(file: string): Loads {
  const { load } = BpfSource.prototype;
  let last: BpfObject | undefined;
  BpfSource.prototype.load = async function followed<L extends ObjectLayout>(this: BpfSource, spec: ObjectSpec<L>) {
    const object = await load.call(this, spec);
    if (spec.file === file) last = object;
    return object;
  };
  return {
    get last() {
      if (last === undefined) throw new Error(`no agent has loaded ${file}`);
      return last;
    },
    [Symbol.dispose]: () => {
      BpfSource.prototype.load = load;
    },
  };
}
