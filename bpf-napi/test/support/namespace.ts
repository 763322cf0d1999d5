import { execFileSync } from 'node:child_process';

let made = 0;

/** A network namespace for a test, created and removed with `ip`. */
export class TestNamespace implements Disposable {
  readonly name = `bpf-napi-${process.pid}-${made++}`;
  readonly path = `/run/netns/${this.name}`;

  constructor() {
    execFileSync('ip', ['netns', 'add', this.name]);
  }

  /** Runs commands of `ip` in the namespace, one per line. */
  batch(commands: string): void {
    execFileSync('ip', ['-n', this.name, '-batch', '-'], { input: commands });
  }

  links(): string[] {
    const links: { ifname: string }[] = JSON.parse(
      execFileSync('ip', ['-n', this.name, '-json', 'link', 'show'], { encoding: 'utf8' }),
    );
    return links.map(({ ifname }) => ifname);
  }

  [Symbol.dispose](): void {
    execFileSync('ip', ['netns', 'delete', this.name]);
  }
}
