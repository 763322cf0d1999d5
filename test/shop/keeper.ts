import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { pathOfInterpreter } from '../support/interpreter.ts';
import { faultName } from './faults.ts';
import { Shop } from './shop.ts';
import { type State, socketOf, startTimeOf, writeState } from './state.ts';

/**
 * Runs a shop until SIGTERM: `node keeper.ts --folder DIR [--port PORT --config TEXT]`. `main.ts` starts it in the
 * background, and sends requests to it over a Unix socket.
 */

export type Request =
  | { readonly command: 'fault'; readonly name: string; readonly on: boolean }
  | { readonly command: 'faults' }
  | { readonly command: 'truth' };

process.env['PATH'] = pathOfInterpreter(process.env['PATH'] ?? '');
const { values } = parseArgs({
  options: { folder: { type: 'string' }, port: { type: 'string' }, config: { type: 'string' } },
});
const { folder = '', port, config } = values;
const state: State = {
  pid: process.pid,
  startTime: startTimeOf(process.pid) ?? '',
  cgroup: Shop.cgroupOf(folder),
  isReady: false,
  pages: {},
};
writeState(folder, state);
const ended = new Promise<void>((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
});

await using shop = await Shop.start(folder, config === undefined ? undefined : { config, port: Number(port) });
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  text(socket)
    .then((line) => answer(JSON.parse(line) as Request))
    .then((result) => ({ result: result ?? null }))
    .catch((error: unknown) => ({ error: (error as Error).message }))
    .then((reply) => socket.end(JSON.stringify(reply)));
});
server.listen(socketOf(folder));
const pages = Object.fromEntries(shop.agents.map(({ node, url }) => [node, `${url}/`]));
writeState(folder, { ...state, isReady: true, pages });
await ended;
server.close();

async function answer(request: Request): Promise<unknown> {
  switch (request.command) {
    case 'fault':
      return shop.fault(faultName(request.name), request.on);
    case 'faults':
      return shop.faults;
    default:
      return shop.truth();
  }
}
