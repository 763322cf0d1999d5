import { ownerNames } from '#bpf/generated/common.ts';
import { type Layout, MAX_ENTRIES, taskRow } from '#bpf/generated/netns.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { ListWalk, rowsOf } from './list_walk.ts';
import type { LoadedObject } from './source.ts';

const ROWS_MAX = MAX_ENTRIES.task_rows;
const ROWS_FIRST = 64;

const NANOSECONDS = 1e-9;

/** A process, as the kernel has it: no right to look into it is needed. */
export interface TaskRow {
  readonly pid: number;
  readonly netns: NetnsId;
  /** Inode number of the network namespace. */
  readonly inum: number;
  /** The rest of it. Most are never asked for: only the bytes are kept. */
  readonly keep: () => TaskDetails;
}

export class TaskDetails {
  readonly #view: DataView;

  /** @param bytes a struct task_row */
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset);
  }

  /** After boot. */
  get startSeconds(): number {
    return Number(taskRow.start(this.#view, 0)) * NANOSECONDS;
  }

  /** Name of its first thread. */
  get comm(): string {
    return taskRow.comm(this.#view, 0);
  }

  /** The innermost folder of its control group that may be a Pod's; empty where there is none. */
  get podFolder(): string {
    return ownerNames.podText(this.#view, taskRow.offsets.owner);
  }

  /** The same of a container's. */
  get containerFolder(): string {
    return ownerNames.containerText(this.#view, taskRow.offsets.owner);
  }
}

/** Lists every process of a PID namespace: a millisecond for 2,000, where /proc takes 10 µs each. */
export class TaskList {
  readonly #object: LoadedObject<Layout>;
  readonly #levels: number;
  readonly #walk = new ListWalk(ROWS_MAX, ROWS_FIRST);
  readonly #buffer = new Uint8Array(ROWS_MAX * taskRow.SIZE);
  readonly #view = new DataView(this.#buffer.buffer);

  /**
   * @param object of netns.bpf.c, loaded with `task_list`
   * @param levels how far above our own PID namespace the one is that numbers the processes
   */
  constructor(object: LoadedObject<Layout>, levels: number) {
    this.#object = object;
    this.#levels = levels;
  }

  /**
   * Visits those that have a number there and are not on their way out. What is to be kept of one has to be taken at once.
   * @param node the node's own namespace: whose its processes are is not looked up
   */
  async read(node: NetnsId | undefined, visit: (task: TaskRow) => void, cycle: Cycle): Promise<void> {
    const place = (index: number) => index * taskRow.SIZE;
    const [levels, nodeCookie] = [BigInt(this.#levels), BigInt(node ?? 0)];
    await this.#walk.run(
      (skip, count) => {
        const args = BigUint64Array.of(BigInt(skip), BigInt(count), levels, nodeCookie);
        const result = this.#object.run('task_list', args);
        this.#object.map('task_rows').readMapped(this.#buffer, place(rowsOf(result)));
        return result;
      },
      {
        key: (index) => taskRow.tgid(this.#view, place(index)),
        row: (index) => {
          if (taskRow.pid(this.#view, place(index)) !== 0) visit(this.#decode(place(index)));
        },
      },
      cycle,
    );
  }

  #decode(at: number): TaskRow {
    return {
      pid: taskRow.pid(this.#view, at),
      netns: asNetnsId(taskRow.cookie(this.#view, at)),
      inum: taskRow.inum(this.#view, at),
      keep: () => new TaskDetails(this.#buffer.slice(at, at + taskRow.SIZE)),
    };
  }
}
