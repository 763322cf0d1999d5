import { FILE } from '#bpf/generated/tcp_ends.ts';
import { BpfSource } from '#sources/bpf/source.ts';

/**
 * Until disposed, makes agents of this process load the programs that count closed TCP sockets with a delay loop at
 * their start. The longer a program runs, the more often the kernel skips a run that would interrupt it.
 * @param iterations length of the loop; a hundred iterations take about a microsecond
 */
export function slowEndsOfSockets(iterations: number): Disposable {
  const { load } = BpfSource.prototype;
  BpfSource.prototype.load = function slowed(this: BpfSource, spec) {
    if (spec.file !== FILE) return load.call(this, spec);
    return load.call(this, { ...spec, constants: { ...spec.constants, delay: iterations } } as typeof spec);
  } as typeof load;
  return {
    [Symbol.dispose]: () => {
      BpfSource.prototype.load = load;
    },
  };
}
