import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { asNetnsId, type NetnsId } from '#core/netns.ts';

const PROGRAM = fileURLToPath(new URL('./namespace_flood.py', import.meta.url));

/** Network namespaces without processes, all created by one process. Disposing removes them. */
export class NamespaceFlood implements AsyncDisposable {
  readonly ids: readonly NetnsId[];
  readonly inums: ReadonlySet<number>;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, told: readonly (readonly [number, number])[]) {
    this.#child = child;
    this.#lines = lines;
    this.ids = told.map(([cookie]) => asNetnsId(cookie));
    this.inums = new Set(told.map(([, inum]) => inum));
  }

  /**
   * @param cgroup cgroup of the process
   * @param isNested whether the namespaces belong to a new user namespace, like those of an unprivileged process
   */
  static async make(count: number, cgroup: string, isNested: boolean): Promise<NamespaceFlood> {
    const script = 'echo $$ > "$0/cgroup.procs" && exec python3 "$@"';
    const child = spawn('sh', ['-c', script, cgroup, PROGRAM, String(count), ...(isNested ? ['nested'] : [])], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    if (value === undefined) throw new Error('the namespaces were not made');
    return new NamespaceFlood(child, lines, JSON.parse(value) as [number, number][]);
  }

  /** In each namespace, sends a datagram to a closed port and a packet of an unknown protocol. Both are dropped. */
  async lose(): Promise<void> {
    this.#child.stdin?.write('\n');
    const { value } = await this.#lines.next();
    if (value !== 'lost') throw new Error('the process has ended');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await exited;
  }
}
