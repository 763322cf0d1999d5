import { addressOf, portOf } from '#core/address.ts';
import type { Trial, WitnessEvent } from './evidence.ts';

/**
 * Returns an event of the trial with the number of its repetitions that the trial may have caused, and with the port of
 * the trial. The agent folds repetitions, so the event may include packets of earlier attempts, and of other connections
 * to the same port.
 * @param isSameClock whether the event has the time of the clock that gave `startTime`
 * @returns undefined if everything happened before the trial
 */
export function ownPart(event: WitnessEvent, trial: Trial, isSameClock: boolean): WitnessEvent | undefined {
  const { count = 1 } = event;
  if (isSameClock && isBefore(event.time, trial)) return undefined;
  const others = otherPorts(event, trial);
  const most = Math.max(1, count - others);
  const isMixed = others > 0 || (isSameClock && isBefore(event['firstTime'], trial));
  if (!isMixed) return event;
  const own = others === 0 ? event : { ...event, ...ownEnd(event, trial) };
  return most === 1 ? { ...own, count: 1 } : { ...own, count: most, least: 1 };
}

/** Returns the client's end of the packet, which is that of the last connection. */
function ownEnd({ src, dst, ports }: WitnessEvent, { local, localIp }: Trial): { src?: string; dst?: string } {
  if (local === undefined) return {};
  const isClient = (end: string | undefined) =>
    end !== undefined && addressOf(end) === localIp && ports?.includes(portOf(end) ?? 0);
  if (isClient(src)) return { src: local };
  return isClient(dst) ? { dst: local } : {};
}

/** Compares without the `Z`, because times differ in their number of digits. */
function isBefore(time: unknown, { startTime }: Trial): boolean {
  return typeof time === 'string' && startTime !== undefined && time.slice(0, -1) < startTime.slice(0, -1);
}

/** Number of other client ports, each of which stands for at least one of the repetitions. */
function otherPorts({ ports, morePorts }: WitnessEvent, { local }: Trial): number {
  const own = local === undefined ? undefined : portOf(local);
  if (ports === undefined || own === undefined || !ports.includes(own)) return 0;
  return ports.length - 1 + (typeof morePorts === 'number' ? morePorts : 0);
}
