import { lstatSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';

/** File mode mask that lets only root and the agent's user connect. */
const MASK = 0o177;

/**
 * Listens on a Unix socket. Replaces a socket file left behind by an earlier agent.
 * @throws if the path is not a socket, or if another process listens on it
 */
export async function bindUnix(server: Server, path: string, backlog: number): Promise<void> {
  await removeStale(path);
  const mask = process.umask(MASK);
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ path, backlog }, resolve));
  } finally {
    process.umask(mask);
  }
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`--api-socket ${path}: the path exists and is not a socket`);
  if (await answers(path)) throw new Error(`--api-socket ${path}: another process listens there`);
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
