import type { PodName, PodsUpdate } from '#pods/facts.ts';
import { workloadOf } from '#pods/workload.ts';
import type { Pod } from './objects.ts';
import type { Follower } from './reflector.ts';

/** Milliseconds for which changes are collected before they are sent as one update. */
const SETTLE_MS = 50;

/** Follows the Pods of this node in the API. Reports changes of the fields that the agent uses. */
export class PodsFeed implements Follower<Pod>, Disposable {
  readonly #tell: (update: PodsUpdate) => void;
  /**
   * Pods by the UID of the API object. For the mirror Pod of a static Pod, this differs from the UID that the kubelet
   * uses.
   */
  readonly #pods = new Map<string, PodName>();
  /** UIDs of API objects by the UID that the kubelet uses: the Pod itself and its mirror Pods. */
  readonly #objects = new Map<string, Set<string>>();
  readonly #byName = new Map<string, number>();
  readonly #changed = new Set<string>();
  readonly #deleted = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (update: PodsUpdate) => void) {
    this.#tell = tell;
  }

  get all(): readonly PodName[] {
    return [...this.#pods].filter(([object, pod]) => this.#isHolder(object, pod)).map(([, pod]) => pod);
  }

  has(namespace: string, name: string): boolean {
    return this.#byName.has(nameKey({ namespace, name }));
  }

  set(object: string, { uid, namespace, name, labels, owner, createdMs, hostNetwork, ips }: Pod): void {
    const before = this.#pods.get(object);
    const workload = workloadOf({ name, labels, owner, createdMs });
    const pod: PodName = { uid, namespace, name, labels, workload, createdMs, hostNetwork, ips };
    if (before === undefined) this.#countName(pod, 1);
    if (before?.uid !== uid) this.#move(object, before?.uid, uid);
    this.#pods.set(object, pod);
    // Most updates change only the status, which the agent does not use.
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(pod)) return;
    this.#changed.add(object);
    this.#settle();
  }

  delete(object: string): void {
    const before = this.#pods.get(object);
    if (before === undefined) return;
    this.#countName(before, -1);
    this.#pods.delete(object);
    this.#changed.delete(object);
    this.#move(object, before.uid, undefined);
    const [other] = this.#objects.get(before.uid) ?? [];
    if (other === undefined) this.#deleted.add(before.uid);
    else this.#changed.add(other);
    this.#settle();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  /**
   * Whether the object represents the Pod with this UID: either the object has this UID, or it is a mirror and no other
   * object has this UID.
   */
  #isHolder(object: string, { uid }: PodName): boolean {
    return uid === object || this.#pods.get(uid)?.uid !== uid;
  }

  #move(object: string, from: string | undefined, to: string | undefined): void {
    if (from !== undefined) {
      const objects = this.#objects.get(from);
      objects?.delete(object);
      if (objects?.size === 0) this.#objects.delete(from);
    }
    if (to === undefined) return;
    const objects = this.#objects.get(to);
    if (objects === undefined) this.#objects.set(to, new Set([object]));
    else objects.add(object);
  }

  #countName(pod: PodName, by: number): void {
    const key = nameKey(pod);
    const count = (this.#byName.get(key) ?? 0) + by;
    if (count === 0) this.#byName.delete(key);
    else this.#byName.set(key, count);
  }

  #settle(): void {
    this.#timer ??= setTimeout(() => this.flush(), SETTLE_MS);
  }

  /** Reports all changes since the last call. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const set = [...this.#changed].flatMap((object) => {
      const pod = this.#pods.get(object);
      return pod !== undefined && this.#isHolder(object, pod) ? [pod] : [];
    });
    const deleted = [...this.#deleted];
    this.#changed.clear();
    this.#deleted.clear();
    if (set.length > 0 || deleted.length > 0) this.#tell({ whole: false, set, deleted });
  }
}

function nameKey({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}
