import { setTimeout as wait } from 'node:timers/promises';
import type { CaptureFile } from './file.ts';
import { OutputFailure } from './output.ts';
import type { Source } from './source.ts';

/** Maximum time in milliseconds for the packets that the kernel still holds at the end. */
const DRAIN_MS = 10_000;
const DRAIN_PAUSE_MS = 10;
/** Interval at which the devices of the namespaces are checked. */
const GONE_MS = 1_000;

/** Why a capture ended. */
export type End =
  | { readonly kind: 'time' | 'stopped' | 'count' | 'size' }
  | { readonly kind: 'gone'; readonly name: string }
  | { readonly kind: 'failed'; readonly failure: OutputFailure };

/**
 * Writes the packets of the sources until a limit is reached, the signal is aborted, a Pod has ended, or the output fails.
 * Then ends the reception, and writes what the kernel has received before.
 * @param ended aborted with the {@link End} as its reason
 */
export async function captureUntil(sources: readonly Source[], file: CaptureFile, ended: AbortSignal): Promise<End> {
  try {
    const end = await pumpUntil(sources, file, ended);
    for (const source of sources) source.stop();
    if (end.kind !== 'count' && end.kind !== 'size') await drain(sources, file);
    return end;
  } catch (error) {
    for (const source of sources) source.stop();
    if (!(error instanceof OutputFailure)) throw error;
    return { kind: 'failed', failure: error };
  }
}

async function pumpUntil(sources: readonly Source[], file: CaptureFile, ended: AbortSignal): Promise<End> {
  let checkedMs = performance.now();
  for (;;) {
    const { isIdle, full } = await pumpOnce(sources, file);
    if (full !== undefined) return full;
    if (ended.aborted) return ended.reason as End;
    if (performance.now() - checkedMs > GONE_MS) {
      checkedMs = performance.now();
      const gone = sources.find(({ isGone }) => isGone);
      if (gone !== undefined) return { kind: 'gone', name: gone.name };
    }
    if (isIdle) await readiness(sources, ended);
  }
}

async function pumpOnce(
  sources: readonly Source[],
  file: CaptureFile,
): Promise<{ readonly isIdle: boolean; readonly full: End | undefined }> {
  let isIdle = true;
  for (const source of sources) {
    const pumped = await source.pump(file);
    if (file.packetRoom === 0) return { isIdle, full: { kind: 'count' } };
    if (pumped === 'full') return { isIdle, full: { kind: 'size' } };
    if (pumped === 'more') isIdle = false;
  }
  return { isIdle, full: undefined };
}

/** Waits until packets may be waiting, but at most until the next check of the devices. */
async function readiness(sources: readonly Source[], ended: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, GONE_MS);
  const stop = () => resolve();
  ended.addEventListener('abort', stop, { once: true });
  for (const source of sources) source.whenReady(stop);
  await promise;
  clearTimeout(timer);
  ended.removeEventListener('abort', stop);
}

async function drain(sources: readonly Source[], file: CaptureFile): Promise<void> {
  const until = performance.now() + DRAIN_MS;
  for (;;) {
    const areDrained = sources.every(({ isDrained }) => isDrained);
    const { full } = await pumpOnce(sources, file);
    if (areDrained || full !== undefined || performance.now() > until) return;
    await wait(DRAIN_PAUSE_MS);
  }
}
