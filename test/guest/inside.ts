import { OUTCOME } from './check.ts';
import { loadGroups } from './checks/index.ts';

/**
 * Runs in the guest: every check in one process, because under emulation Node.js takes seconds to start.
 * @param arguments names of groups; all of them by default
 */
const only = process.argv.slice(2);
const groups = await loadGroups();

for (const group of only.length === 0 ? groups : groups.filter(({ name }) => only.includes(name))) {
  const startMs = performance.now();
  await group.run((outcome) => process.stdout.write(`${OUTCOME}${JSON.stringify(outcome)}\n`));
  process.stdout.write(`${group.name} took ${((performance.now() - startMs) / 1000).toFixed(1)} s\n`);
}
// The serial line is slow, and output that it has not taken would be lost.
await new Promise((resolve) => process.stdout.write('', resolve));
process.exit();
