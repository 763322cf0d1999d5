import { Worker } from 'node:worker_threads';
import type { Trial } from '#why/evidence.ts';
import { RIGHTS_HELP } from '../capture/place.ts';
import type { Counts, FromTrial, TrialPlan } from './messages.ts';

/** Address of the server and of the client, as far as they are known before the first packet to the server. */
export interface Ready {
  readonly ip: string | undefined;
  readonly local: string | undefined;
}

/**
 * Carries out a trial in a thread of its own, which enters the namespace of the client.
 * @param ready called before the first packet to the server; the trial continues when the promise resolves
 * @throws if the trial cannot be carried out
 */
export async function runTrial(
  plan: TrialPlan,
  tell: (text: string) => void,
  ready: (ready: Ready) => Promise<void>,
  signal: AbortSignal,
): Promise<{ readonly trial: Trial; readonly grown: Counts }> {
  const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './reach_thread.js';
  const worker = new Worker(new URL(file, import.meta.url), { workerData: plan, name: 'reach' });
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly trial: Trial; readonly grown: Counts }>();
  const stop = () => reject(new Error('stopped'));
  signal.addEventListener('abort', stop, { once: true });
  worker.on('error', reject);
  worker.on('exit', () => reject(new Error('the thread of the trial has ended')));
  worker.on('message', (message: FromTrial) => {
    switch (message.kind) {
      case 'step':
        tell(message.text);
        return;
      case 'ready':
        ready(message).then(() => worker.postMessage('go'), reject);
        return;
      case 'done':
        resolve(message);
        return;
      case 'impossible':
        reject(new Error(message.lacksRight ? `${message.message}; ${RIGHTS_HELP}` : message.message));
    }
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', stop);
    await worker.terminate();
  }
}
