import { type ChildProcess, spawn } from 'node:child_process';
import type { TestNetns } from './hosts.ts';
import { eventually } from './oracle.ts';

/** Runs `ip monitor`, which prints netlink notifications, in a namespace. */
export class IpMonitor implements AsyncDisposable {
  readonly #netns: TestNetns;
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;
  #text = '';
  #marks = 0;

  private constructor(netns: TestNetns) {
    this.#netns = netns;
    this.#child = spawn(
      'ip',
      ['-n', netns.name, '-o', 'monitor', 'label', 'link', 'address', 'route', 'rule', 'neigh'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString();
    });
    this.#gone = new Promise((resolve) => this.#child.once('exit', resolve));
  }

  static async start(netns: TestNetns): Promise<IpMonitor> {
    const monitor = new IpMonitor(netns);
    await monitor.settled();
    return monitor;
  }

  /**
   * Waits until all previous changes are printed.
   * @returns the lines since the previous call
   */
  async settled(): Promise<string[]> {
    const before = this.#text.length;
    await eventually(() => {
      // A new routing rule serves as a marker. Rules are added until the program prints one.
      const mark = `pref ${30_000 + this.#marks++} from 192.0.2.99`;
      this.#netns.ip(`rule add ${mark} table 99`);
      this.#netns.ip(`rule del ${mark} table 99`);
      return eventually(() => {
        if (!/\[RULE\]Deleted .*192\.0\.2\.99/.test(this.#text.slice(before)))
          throw new Error('ip monitor is not there yet');
      }, 1_000);
    });
    const lines = this.#text.split('\n').filter((line) => line !== '' && !line.includes('192.0.2.99'));
    this.#text = '';
    return lines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
  }
}

/**
 * Counts device changes in the output of `ip monitor`, with keys such as `br0 up`. A device counts as added when it is
 * first mentioned.
 */
export class MonitoredLinks {
  readonly #links = new Map<string, { readonly up: boolean; readonly mtu: number }>();
  readonly #counts: Record<string, number> = {};

  read(lines: readonly string[]): void {
    for (const line of lines) {
      const [, deleted, index = '', name = '', flags = '', mtu] =
        /^\[LINK\](Deleted )?(\d+): ([^:@]+)(?:@\S+)?: <([^>]*)> mtu (\d+)/.exec(line) ?? [];
      if (mtu === undefined) continue;
      const now = { up: flags.split(',').includes('UP'), mtu: Number(mtu) };
      const before = this.#links.get(index);
      if (deleted !== undefined) {
        this.#links.delete(index);
        this.#count(name, 'removed');
      } else {
        this.#links.set(index, now);
        if (before === undefined) this.#count(name, 'added');
        if (now.up !== (before?.up ?? false)) this.#count(name, now.up ? 'up' : 'down');
        if (before !== undefined && now.mtu !== before.mtu) this.#count(name, 'mtu');
      }
    }
  }

  get counts(): Readonly<Record<string, number>> {
    return this.#counts;
  }

  #count(name: string, change: string): void {
    const key = `${name} ${change}`;
    this.#counts[key] = (this.#counts[key] ?? 0) + 1;
  }
}
