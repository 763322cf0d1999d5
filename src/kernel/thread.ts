import { parentPort, workerData } from 'node:worker_threads';
import { giveBackMemory } from '#core/heap.ts';
import { PROBES } from '#probes/index.ts';
import { ownThread } from '#sources/procfs/thread_time.ts';
import { Kernel } from './kernel.ts';
import type { FromKernel, KernelOptions, Page, Question, QuestionName, Questions } from './messages.ts';

/** The kernel thread's side of the protocol in messages.ts. */

if (parentPort === null) throw new Error('the kernel thread runs in a worker thread');
const port = parentPort;

function send(message: FromKernel, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

type Answers = {
  readonly [Name in QuestionName]: (
    ask: Questions[Name]['ask'],
    isForgotten: () => boolean,
  ) => Promise<Questions[Name]['answer']>;
};

/** IDs of pending requests. */
const open = new Set<number>();
/** IDs of pending requests that were cancelled. */
const forgotten = new Set<number>();

function answersOf(kernel: Kernel): Answers {
  return {
    configure: async ({ probes, bpfStats, series, privacy }) => {
      await kernel.configure(probes, bpfStats, series, privacy);
      return null;
    },
    namePods: async (update) => {
      kernel.namePods(update);
      return null;
    },
    labelPods: async (labels) => {
      kernel.labelPods(labels);
      return null;
    },
    tellPodNetworks: async (networks) => {
      kernel.tellPodNetworks(networks);
      return null;
    },
    scrape: ({ format, ...options }, isForgotten) => kernel.page(format, options, isForgotten),
    probes: async () => kernel.probes(),
    discovery: async () => kernel.discovery(),
    entities: () => kernel.entities(),
    trouble: () => kernel.trouble(),
    counters: (selection) => kernel.counters(selection),
    flows: (selection) => kernel.flows.report(selection),
    map: (services) => kernel.flows.map(services),
    tellPeers: async (told) => {
      kernel.tellPeers(told);
      return null;
    },
    ledger: async () => kernel.ledger(),
    giveBack: async () => {
      giveBackMemory();
      return null;
    },
    ping: async () => null,
    forget: async (id) => {
      if (open.has(id)) forgotten.add(id);
      return null;
    },
    close: async () => {
      await kernel[Symbol.asyncDispose]();
      return null;
    },
  };
}

/** Returns the buffers of a page. They are transferred instead of copied. */
function transferable(name: QuestionName, answer: unknown): ArrayBuffer[] {
  if (name !== 'scrape') return [];
  const { content } = answer as Page;
  const parts = 'bytes' in content ? [content.bytes] : content;
  return [...new Set(parts.map(({ buffer }) => buffer))];
}

const kernel = await Kernel.open(workerData as KernelOptions, {
  probes: PROBES,
  events: (events) => send({ kind: 'events', events }),
  records: (records) => send({ kind: 'records', records }),
  peers: (peers) => send({ kind: 'peers', peers }),
  log: (level, message) => send({ kind: 'log', level, message }),
});
const answers = answersOf(kernel);

port.on('message', async ({ id, name, ask }: Question) => {
  open.add(id);
  try {
    const answer = await answers[name](ask as never, () => forgotten.has(id));
    send({ kind: 'answer', id, answer }, transferable(name, answer));
    if (name === 'close') port.close();
  } catch (error) {
    send({ kind: 'failure', id, message: (error as Error).message });
  } finally {
    open.delete(id);
    forgotten.delete(id);
  }
});
send({ kind: 'ready', tid: ownThread() });
