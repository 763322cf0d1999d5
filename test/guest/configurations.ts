import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What runs by default, and `qdisc`, which does not. In the guest nothing has to be removed. @returns the path of the file */
export function withQueues(): string {
  const path = join(mkdtempSync(join(tmpdir(), 'queues-')), 'config.yaml');
  writeFileSync(path, 'probes: { qdisc: true }\n');
  return path;
}
