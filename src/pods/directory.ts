import type { Entity } from './entity.ts';
import type { PodName, PodsUpdate } from './facts.ts';
import { labelValues, type PodLabels } from './labels.ts';

/**
 * Maximum number of deleted Pods to remember. A namespace and its last events may outlive the Pod's object in the API.
 */
const DELETED_MAX = 1_024;

/**
 * Finds the names of entities by the UID in their cgroup path. UIDs are never reused, so an old entry cannot give a Pod
 * the wrong name. Until the API has reported a Pod, its UID is used as its name.
 */
export class PodDirectory {
  readonly #pods = new Map<string, PodName>();
  readonly #deleted = new Map<string, PodName>();
  #labels: PodLabels = {};
  #networks: readonly string[] = [];

  update({ whole, set, deleted }: PodsUpdate): void {
    if (whole) {
      const kept = new Set(set.map(({ uid }) => uid));
      for (const uid of this.#pods.keys()) if (!kept.has(uid)) this.#delete(uid);
    }
    for (const uid of deleted) this.#delete(uid);
    for (const pod of set) {
      this.#pods.set(pod.uid, pod);
      this.#deleted.delete(pod.uid);
    }
  }

  /** Networks of the Pods on this node. */
  get podNetworks(): readonly string[] {
    return this.#networks;
  }

  setNetworks(networks: readonly string[]): void {
    this.#networks = networks;
  }

  isPodAddress(ip: string): boolean {
    for (const { ips } of this.#pods.values()) if (ips.includes(ip)) return true;
    return false;
  }

  /** Returns the addresses of all Pods on this node. */
  addresses(): Set<string> {
    return new Set([...this.#pods.values()].flatMap(({ ips }) => ips));
  }

  configure(labels: PodLabels): void {
    this.#labels = labels;
  }

  /** Labels of entities that are not Pods. All values are empty. */
  get noLabels(): Readonly<Record<string, string>> {
    return labelValues(this.#labels, undefined);
  }

  /** Adds names to all entities. If two Pods have the same name, the newer one comes last. */
  nameAll(entities: readonly Entity[]): readonly Entity[] {
    const createdMs = ({ uid }: Entity) => this.find(uid)?.createdMs ?? 0;
    return entities.map((entity) => this.name(entity)).sort((a, b) => createdMs(a) - createdMs(b));
  }

  name(entity: Entity): Entity {
    const pod = entity.kind === 'pod' ? this.find(entity.uid) : undefined;
    const labels = labelValues(this.#labels, pod);
    return pod === undefined ? { ...entity, labels } : { ...entity, namespace: pod.namespace, pod: pod.name, labels };
  }

  find(uid: string): PodName | undefined {
    return this.#pods.get(uid) ?? this.#deleted.get(uid);
  }

  #delete(uid: string): void {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    this.#deleted.set(uid, pod);
    if (this.#deleted.size <= DELETED_MAX) return;
    const [oldest] = this.#deleted.keys();
    if (oldest !== undefined) this.#deleted.delete(oldest);
  }
}
