import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { BpfError, enterNetns } from 'bpf-napi';
import type { Trial } from '#why/evidence.ts';
import type { Counts, FromTrial, TrialPlan } from './messages.ts';
import { resolveName } from './names.ts';
import { attempt, localAddress, readCounts } from './trial.ts';

const EPERM = 1;
const EACCES = 13;

/**
 * The thread of a trial. It enters the namespace of the client once, for good, before it opens any socket. All sockets of
 * the trial are opened by this thread; `dns.lookup`, whose work runs in threads of the process, is not used.
 */
if (parentPort === null) throw new Error('the trial runs in a worker thread');
const port = parentPort;
const plan = workerData as TrialPlan;
const send = (message: FromTrial) => port.postMessage(message);
const tell = (text: string) => send({ kind: 'step', text });

async function run(): Promise<void> {
  if (plan.netns !== undefined) enterNetns(plan.netns);
  const { host, port: serverPort, protocol } = plan;
  const { ip, tries } = await resolveName(host, plan, tell);
  const base = { host, port: serverPort, protocol, names: tries, ip };
  const localIp = await localAddress(ip ?? tries.at(-1)?.server ?? '127.0.0.1');
  send({ kind: 'ready', ip, local: localIp });
  await once(port, 'message');
  const before = readCounts();
  const outcome: Partial<Trial> & Pick<Trial, 'stage'> =
    ip === undefined ? { stage: 'name' } : await attempt(plan, ip, localIp, tell);
  send({ kind: 'done', trial: { ...base, localIp, ...outcome }, grown: growth(before, readCounts()) });
}

function growth(before: Counts, after: Counts): Counts {
  const grown = Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, change]) => change > 0));
}

try {
  await run();
} catch (error) {
  if (!(error instanceof BpfError)) throw error;
  send({ kind: 'impossible', message: error.message, lacksRight: [EPERM, EACCES].includes(error.errno) });
}
