import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Writes a configuration that also enables `qdisc`. The file need not be removed, because the guest is discarded.
 * @returns the path of the file
 */
export function withQueues(): string {
  const path = join(mkdtempSync(join(tmpdir(), 'queues-')), 'config.yaml');
  writeFileSync(path, 'probes: { qdisc: true }\n');
  return path;
}
