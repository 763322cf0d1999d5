import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sh } from './command.ts';
import { uniqueName } from './hosts.ts';

const EVENT = 'events/sock/inet_sock_set_state';
/** Value of the state TCP_CLOSE (kernel: include/net/tcp_states.h). */
const CLOSE = 7;
const BUFFER_KB = 1_024;

/**
 * Counts closed sockets that no BPF program can see. On some development machines, a timer may close a socket while it
 * interrupts a thread of process 1. The kernel then neither runs tracing programs nor counts the skipped runs, but it
 * does write the event to its trace. On other machines this does not happen, because process 1 is nearly always asleep.
 */
export class UnseenCloses implements Disposable {
  readonly #mount = mkdtempSync(join(tmpdir(), 'tracefs-'));
  readonly #instance: string;

  constructor() {
    sh(`mount -t tracefs none ${this.#mount}`);
    this.#instance = join(this.#mount, 'instances', uniqueName('closes'));
    mkdirSync(this.#instance);
    const threads = readdirSync('/proc/1/task').map((id) => `common_pid == ${id}`);
    writeFileSync(join(this.#instance, 'buffer_size_kb'), String(BUFFER_KB));
    writeFileSync(join(this.#instance, EVENT, 'filter'), `newstate == ${CLOSE} && (${threads.join(' || ')})`);
    writeFileSync(join(this.#instance, EVENT, 'enable'), '1');
  }

  /** Number of unseen closed sockets so far. */
  get count(): number {
    const trace = readFileSync(join(this.#instance, 'trace'), 'utf8');
    return trace.split('\n').filter((line) => line.includes('inet_sock_set_state:')).length;
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#instance);
    sh(`umount ${this.#mount}`);
    rmdirSync(this.#mount);
  }
}
