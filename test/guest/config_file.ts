import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A configuration with the probe that is off because the default install has no right for it. The guest is thrown away with it. */
export function withQdisc(): string {
  const path = join(mkdtempSync(join(tmpdir(), 'config-')), 'netsonde.yaml');
  writeFileSync(path, 'probes: { qdisc: true }\n');
  return path;
}
