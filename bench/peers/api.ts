import { ApiServer } from '../../test/support/api_server.ts';
import { fullNode, fullPod, fullService, fullSlice } from './objects.ts';

/**
 * Runs an API server for a large cluster in its own process so that it does not delay the scrapes that the bench
 * measures. Expects a message with the sizes, and answers with the path of a kubeconfig. Any further message ends all
 * streams so that clients list again.
 */

export interface ClusterSize {
  readonly nodes: number;
  readonly services: number;
  readonly endpointsPerService: number;
  readonly pods: number;
  /** Whether each node has an IPv4 and an IPv6 address. An agent then reads whole objects instead of tables. */
  readonly isDualStack: boolean;
}

let server: ApiServer | undefined;

async function start({ nodes, services, endpointsPerService, pods, isDualStack }: ClusterSize): Promise<string> {
  server = await ApiServer.start();
  for (let nth = 0; nth < nodes; nth++) server.put('nodes', fullNode(nth, isDualStack ? `fd00::${nth}` : undefined));
  for (let nth = 0; nth < services; nth++) {
    server.put('services', fullService(nth));
    server.put('endpointslices', fullSlice(nth, nth * endpointsPerService, endpointsPerService));
  }
  for (let nth = 0; nth < pods; nth++) server.put('pods', fullPod(nth, `node-${1 + (nth % (nodes - 1))}`));
  return server.kubeconfig;
}

process.on('message', (message: ClusterSize | 'relist') => {
  if (message !== 'relist') {
    void start(message).then((kubeconfig) => process.send?.(kubeconfig));
    return;
  }
  if (server === undefined) return;
  server.mood = { kind: 'gone', as: 'status' };
  server.resetStreams();
  setTimeout(() => {
    if (server !== undefined) server.mood = { kind: 'well' };
    process.send?.('done');
  }, 3_000);
});
process.once('disconnect', () => void server?.[Symbol.asyncDispose]().then(() => process.exit()));
