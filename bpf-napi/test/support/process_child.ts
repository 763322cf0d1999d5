import { open } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { exitNow, tryLock } from '../../lib/index.ts';

/**
 * Child process of process.test.ts. Holds a lock until it is killed, or exits while all threads in libuv's pool hang.
 */
const [, , way, path = ''] = process.argv;

if (way === 'lock') {
  const file = await open(path);
  process.stdout.write(`${await tryLock(file.fd)}\n`);
  await wait(60_000);
  await file.close();
} else {
  // No process opens the pipe for writing, so these opens never return.
  for (let count = 0; count < 8; count++) void open(path);
  await wait(100);
  process.stdout.write('before\n');
  exitNow(0);
}
