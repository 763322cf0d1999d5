import { emitWarning } from 'node:process';

interface Closable {
  close(): void;
}

/**
 * Handles are closed by their owners. A handle that the garbage collector finds open was forgotten: it is closed,
 * and a warning `BpfLeakWarning` says which.
 */
const alarm = new FinalizationRegistry<{ handle: Closable; what: string }>(({ handle, what }) => {
  handle.close();
  emitWarning(`${what} was garbage collected while it was open`, 'BpfLeakWarning');
});

export function watchForLeak(owner: object, handle: Closable, what: string): void {
  alarm.register(owner, { handle, what }, owner);
}

export function closed(owner: object): void {
  alarm.unregister(owner);
}
