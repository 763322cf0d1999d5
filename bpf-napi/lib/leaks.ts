import { emitWarning } from 'node:process';

interface Closable {
  close(): void;
}

/** Closes handles that were garbage collected before they were closed, and emits a `BpfLeakWarning` for each. */
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
