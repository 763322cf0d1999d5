import { OUTCOME } from './check.ts';
import { loadGroups } from './checks/index.ts';

/**
 * Runs all checks in the guest. They share one process, because starting Node.js takes seconds under emulation. The
 * arguments are names of groups. Without arguments, all groups run.
 */
const only = process.argv.slice(2);
const groups = await loadGroups();

for (const group of only.length === 0 ? groups : groups.filter(({ name }) => only.includes(name))) {
  const startMs = performance.now();
  await group.run((outcome) => process.stdout.write(`${OUTCOME}${JSON.stringify(outcome)}\n`));
  process.stdout.write(`${group.name} took ${((performance.now() - startMs) / 1000).toFixed(1)} s\n`);
}
// The serial console is slow, so the process must wait until its output is written.
await new Promise((resolve) => process.stdout.write('', resolve));
process.exit();
