import { endsOf, isInTunnel } from '#api/event_ends.ts';
import type { EventRecord } from '#api/events.ts';
import type { FoldBy } from '#config/events.ts';
import { addressOf, portOf } from '#core/address.ts';
import type { EventDescriptor } from '#probe/event.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';
import { clientEndOf } from './client_end.ts';

/** Maximum number of open windows. An event that would need another window is sent unfolded. */
const WINDOWS_MAX = 10_000;
const LOOKS_PER_WINDOW = 4;
/** Maximum number of client ports that an event lists. */
const PORTS_SHOWN = 16;
/** Maximum number of client ports that a window counts. */
const PORTS_MAX = 256;

export interface EventFoldCallbacks {
  /** Returns undefined for an unknown type. Its events are compared only by the fields that all types share. */
  readonly describe: (probe: string, type: string) => Pick<EventDescriptor, 'equalBy' | 'client'> | undefined;
  /** Ports that this node's kernel assigns to clients. */
  readonly ephemeral: PortRange;
  /** Called when windows end, with one event for each window that held events. */
  readonly send: (events: readonly EventRecord[]) => void;
  /** Called when a window starts (1) or stops (-1) holding an event. */
  readonly held: (event: EventRecord, change: 1 | -1) => void;
  /** Called when a window that already holds an event folds another one into it. */
  readonly folded: (event: EventRecord) => void;
}

type End = 'src' | 'dst';

interface Key {
  readonly text: string;
  /** The end whose port is ignored. */
  readonly client: End | undefined;
}

interface Window {
  readonly endsMs: number;
  /** Two keys as long as it is unknown which end is the client, otherwise one. */
  keys: readonly Key[];
  /** Client ports of the folded events. */
  readonly ports: Set<number>;
  /** Latest of the folded events. */
  last: EventRecord | undefined;
  firstTime: string;
  count: number;
}

/**
 * Folds repeated events. The first event opens a window and is sent at once. Repetitions within the window are sent as
 * a single event when the window ends. This event is the latest repetition, with the number of repetitions and the time
 * of the earliest. The counts of the sent events add up to the number of received events.
 *
 * With `service`, events that differ only in the client's port count as repetitions. If the ports do not show which end
 * is the client, the second event decides: the end whose port did not change is the server.
 */
export class EventFold implements Disposable {
  readonly #callbacks: EventFoldCallbacks;
  readonly #now: () => number;
  /** Open windows in order of creation, which is also the order in which they end. */
  readonly #windows = new Set<Window>();
  readonly #byKey = new Map<string, Window>();
  #windowMs = 0;
  #by: FoldBy = 'service';
  #timer: NodeJS.Timeout | undefined;
  #unfolded = 0;

  constructor(callbacks: EventFoldCallbacks, now: () => number = () => performance.now()) {
    this.#callbacks = callbacks;
    this.#now = now;
  }

  /** Sets the length of a window in milliseconds; 0 disables folding. Sends the held events. */
  set windowMs(windowMs: number) {
    if (windowMs === this.#windowMs) return;
    this.flush();
    this.#windowMs = windowMs;
  }

  /** Sets how events are compared. Sends the held events. */
  set by(by: FoldBy) {
    if (by === this.#by) return;
    this.flush();
    this.#by = by;
  }

  /** Number of events that were sent without folding, because too many windows were open. */
  get unfolded(): number {
    return this.#unfolded;
  }

  /** Returns true if the event is to be sent now, false if a window holds it. */
  take(event: EventRecord): boolean {
    if (this.#windowMs === 0) return true;
    const keys = this.#keysOf(event);
    const window = this.#find(keys);
    if (window === undefined) {
      if (this.#windows.size < WINDOWS_MAX) this.#open(keys);
      else this.#unfolded++;
      return true;
    }
    if (window.last === undefined) {
      window.firstTime = event.time;
      this.#callbacks.held(event, 1);
    } else this.#callbacks.folded(event);
    window.last = event;
    window.count++;
    addPort(window, event);
    return false;
  }

  /** Ends the windows that are due. A window that held events is opened again. */
  sweep(): void {
    const now = this.#now();
    const due: Window[] = [];
    for (const window of this.#windows) {
      if (window.endsMs > now) break;
      due.push(window);
    }
    for (const window of due) {
      this.#windows.delete(window);
      for (const { text } of window.keys) this.#byKey.delete(text);
      if (window.last !== undefined) this.#open(window.keys);
    }
    if (this.#windows.size === 0) this.#rest();
    this.#send(due);
  }

  /** Ends all windows. */
  flush(): void {
    const windows = [...this.#windows];
    this.#windows.clear();
    this.#byKey.clear();
    this.#rest();
    this.#send(windows);
  }

  [Symbol.dispose](): void {
    this.flush();
  }

  /** Starts the timer that ends windows. */
  #watch(): void {
    this.#timer ??= setInterval(() => this.sweep(), this.#windowMs / LOOKS_PER_WINDOW);
    this.#timer.unref();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #open(keys: readonly Key[]): void {
    const endsMs = this.#now() + this.#windowMs;
    const window = { endsMs, keys, ports: new Set<number>(), last: undefined, firstTime: '', count: 0 };
    this.#windows.add(window);
    for (const { text } of keys) this.#byKey.set(text, window);
    this.#watch();
  }

  /** Finds the window of an event. If it is not yet known which end is the window's client, the event determines it. */
  #find(keys: readonly Key[]): Window | undefined {
    const found = keys.flatMap((key) => {
      const window = this.#byKey.get(key.text);
      return window === undefined ? [] : [{ key, window }];
    });
    const [first] = found;
    if (first === undefined) return undefined;
    const { key, window } = first;
    const isSame = found.length === window.keys.length && found.every((other) => other.window === window);
    if (!isSame) this.#decide(window, key);
    return window;
  }

  #decide(window: Window, key: Key): void {
    if (window.keys.length === 1) return;
    for (const { text } of window.keys) if (text !== key.text) this.#byKey.delete(text);
    window.keys = [key];
    if (window.last !== undefined) addPort(window, window.last);
  }

  #send(windows: readonly Window[]): void {
    const events = windows.flatMap(({ last, firstTime, count, ports }) => {
      if (last === undefined) return [];
      this.#callbacks.held(last, -1);
      return count === 1 ? [last] : [{ ...last, count, ...told(ports), firstTime, lastTime: last.time }];
    });
    if (events.length > 0) this.#callbacks.send(events);
  }

  /** Returns the key of the fields that repeated events share; two keys if either end may be the client. */
  #keysOf(event: EventRecord): readonly Key[] {
    const { describe, ephemeral } = this.#callbacks;
    const { probe, type, severity, netns } = event;
    const packet = endsOf(event);
    const { src, dst, protocol } = packet;
    // The source port of a tunnel depends on the connection in it.
    const outer = isInTunnel(event) ? [hostOf(event.src), hostOf(event.dst)] : [];
    const descriptor = describe(probe, type);
    const fields = descriptor?.equalBy.map((field) => event[field]) ?? [];
    const keyOf = (client: End | undefined): Key => {
      const ends = [client === 'src' ? hostOf(src) : src, client === 'dst' ? hostOf(dst) : dst];
      return { text: JSON.stringify([probe, type, severity, netns, ...outer, ...ends, protocol, ...fields]), client };
    };
    if (this.#by === 'connection') return [keyOf(undefined)];
    const client = clientEndOf(packet, descriptor?.client?.(event), ephemeral);
    return client === 'either' ? [keyOf('src'), keyOf('dst')] : [keyOf(client)];
  }
}

function hostOf(endpoint: string | undefined): string | undefined {
  return endpoint === undefined ? undefined : addressOf(endpoint);
}

/**
 * Adds the client's port. Does nothing while the client is unknown, because all events had the same ports until then.
 */
function addPort({ keys, ports }: Window, event: EventRecord): void {
  const [key] = keys;
  const endpoint = keys.length === 1 && key?.client !== undefined ? endsOf(event)[key.client] : undefined;
  const port = endpoint === undefined ? undefined : portOf(endpoint);
  if (port !== undefined && ports.size < PORTS_MAX) ports.add(port);
}

function told(ports: ReadonlySet<number>): Pick<EventRecord, 'ports' | 'morePorts'> {
  if (ports.size < 2) return {};
  const more = ports.size - PORTS_SHOWN;
  return { ports: [...ports].slice(0, PORTS_SHOWN), ...(more > 0 ? { morePorts: more } : {}) };
}
