import type { EntityKind } from '#api/words.ts';
import { type NetnsId, UNLISTED } from '#core/netns.ts';
import { type Entity, isHostPod } from '#pods/entity.ts';
import { renderLabels } from './labels.ts';
import { encode } from './text_writer.ts';

/** Slot of the node, for the values of its network namespace and of the whole machine. */
export const NODE_SLOT = 0;

/** Slot that all unlisted namespaces share. */
export const UNLISTED_SLOT = 1;

export type Attribution = 'unknown' | 'shadowed' | number;

/** Callbacks of an entity table. */
export interface SlotListener {
  /** Called when a slot no longer has an entity. */
  freed(slot: number): void;
  /** Called when the entity of a slot has ended. The slot keeps its last values. */
  retired(slot: number): void;
  /** Called when the labels of the entity in a slot have changed. */
  renamed?(slot: number): void;
  /** Returns whether a namespace was created recently, so that its counters were zero when it got its slot. */
  isNew?(id: NetnsId): boolean;
  /** Returns the time of a monotonic clock in milliseconds. */
  nowMs?(): number;
}

interface Arrival {
  readonly atMs: number;
  /** Whether the namespace was created shortly before its entity got the slot. */
  readonly isNew: boolean;
}

const NO_ENTITY = { namespace: '', pod: '' };
const UNLISTED_ENTITY = { namespace: '', pod: 'unlisted' };
/** Arrival for the slots that always exist. */
const ALWAYS: Arrival = { atMs: Number.NEGATIVE_INFINITY, isNew: false };

/**
 * The entities that samples can belong to. Each shown entity has a slot, which is a small index into the arrays of
 * families.
 */
export class EntityTable {
  readonly #listener: SlotListener;
  readonly #slots = new Map<NetnsId, Attribution>([[UNLISTED, UNLISTED_SLOT]]);
  #entities: readonly Entity[] = [];
  readonly #byId = new Map<NetnsId, Entity>();
  readonly #labels: Uint8Array[] = [encode(renderLabels(NO_ENTITY)), encode(renderLabels(UNLISTED_ENTITY))];
  readonly #free: number[] = [];
  #shadowed = 0;
  /** Incremented when the slot of a namespace may have changed. */
  version = 0;
  /** Incremented when the labels of a slot have changed. */
  labelsVersion = 0;

  /** Arrivals, by slot. */
  readonly #arrivals: Arrival[] = [ALWAYS, ALWAYS];

  constructor(listener: SlotListener) {
    this.#listener = listener;
  }

  /**
   * Sets the current entities. Live entities come first, followed by retired entities in the order in which they ended.
   * If several entities have the same labels, the last one is shown, with these exceptions:
   *
   * - If a Pod or container has several namespaces, the first one is shown, which is its home namespace.
   * - A Pod that shares the node's namespace is shown in the same slot as the first namespace that it has created.
   * - A live entity takes precedence over a retired entity.
   * - A hidden entity stays hidden after it has ended.
   *
   * An entity that is renamed keeps its slot and its values.
   * @param noLabels configured labels with empty values, for entities that are not Pods
   */
  set(entities: readonly Entity[], noLabels: Readonly<Record<string, string>> = {}): void {
    this.version++;
    this.#label(NODE_SLOT, encode(renderLabels({ ...NO_ENTITY, ...noLabels })));
    this.#label(UNLISTED_SLOT, encode(renderLabels({ ...UNLISTED_ENTITY, ...noLabels })));
    const hidden = new Set([...this.#slots.keys()].filter((id) => this.#slots.get(id) === 'shadowed'));
    const shown = chooseShown(entities, hidden);
    const before = new Map(this.#byId);
    this.#entities = entities.filter(({ isRetired }) => !isRetired);
    this.#byId.clear();
    for (const entity of entities) this.#byId.set(entity.netns, entity);
    for (const [id, old] of before) {
      const now = this.#byId.get(id);
      const isSame = now !== undefined && isNode(now) === isNode(old);
      if (!isSame || !shown.get(keyOf(now))?.includes(now)) this.#release(id);
    }
    for (const group of shown.values()) this.#join(group);
    for (const entity of entities) {
      const group = shown.get(keyOf(entity));
      if (group?.includes(entity)) {
        this.#assign(entity, group, before.get(entity.netns)?.isRetired === true);
      } else {
        this.#slots.set(entity.netns, 'shadowed');
        if (!hidden.has(entity.netns)) this.#shadowed++;
      }
    }
  }

  /** All live entities. */
  get all(): readonly Entity[] {
    return this.#entities;
  }

  /** Returns the shown entities, including retired ones, with their slots. */
  shown(): { readonly entity: Entity; readonly slot: number }[] {
    return [...this.#byId.values()].flatMap((entity) => {
      const slot = this.#slots.get(entity.netns);
      return typeof slot === 'number' ? [{ entity, slot }] : [];
    });
  }

  /** Exclusive upper bound of the slots in use. */
  get slots(): number {
    return this.#labels.length;
  }

  /** Number of times that an entity was hidden by another entity with the same labels. */
  get shadowed(): number {
    return this.#shadowed;
  }

  find(id: NetnsId): Entity | undefined {
    return this.#byId.get(id);
  }

  attribute(id: NetnsId): Attribution {
    return this.#slots.get(id) ?? 'unknown';
  }

  /** Returns the rendered labels: `namespace="…",pod="…"` and the configured labels. */
  labelsOf(slot: number): Uint8Array {
    return this.#labels[slot] as Uint8Array;
  }

  /** Returns the arrival of the entity in a slot. */
  arrivalOf(slot: number): Arrival {
    return this.#arrivals[slot] as Arrival;
  }

  countByKind(): Map<EntityKind, number> {
    const counts = new Map<EntityKind, number>();
    for (const { kind } of this.#entities) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return counts;
  }

  /**
   * Makes entities that are shown as one share a slot, by releasing their other slots. The slot of a Pod in the node's
   * namespace is kept if there is one.
   */
  #join(group: readonly Entity[]): void {
    if (group.length === 1) return;
    const slot = this.#slotOf(group.filter(isHostPod)) ?? this.#slotOf(group);
    for (const { netns } of group) if (this.#slots.get(netns) !== slot) this.#release(netns);
  }

  #slotOf(entities: readonly Entity[]): number | undefined {
    return entities.map(({ netns }) => this.#slots.get(netns)).find((slot) => typeof slot === 'number');
  }

  #isTaken(slot: number): boolean {
    for (const taken of this.#slots.values()) if (taken === slot) return true;
    return false;
  }

  /**
   * Assigns a slot to a shown entity.
   * @param group entities that share a slot, including this entity
   */
  #assign(entity: Entity, group: readonly Entity[], wasRetired: boolean): void {
    if (isNode(entity)) {
      this.#slots.set(entity.netns, NODE_SLOT);
      return;
    }
    const known = this.#slotOf([entity]) ?? this.#slotOf(group);
    const isNew = known === undefined;
    const slot = known ?? this.#free.pop() ?? this.#labels.length;
    this.#slots.set(entity.netns, slot);
    const labels = encode(renderLabels({ namespace: entity.namespace, pod: entity.pod, ...entity.labels }));
    // A renamed entity keeps its values, because an entity that has ended gets no new ones.
    if (this.#label(slot, labels) && !isNew) this.#listener.renamed?.(slot);
    if (isNew) {
      const isNewborn = this.#listener.isNew?.(entity.netns) === true;
      this.#arrivals[slot] = { atMs: this.#listener.nowMs?.() ?? 0, isNew: isNewborn };
    }
    if (entity.isRetired && !wasRetired) this.#listener.retired(slot);
  }

  /**
   * Sets the labels of a slot.
   * @returns whether the slot had different labels before
   */
  #label(slot: number, labels: Uint8Array): boolean {
    const before = this.#labels[slot];
    if (before !== undefined && Buffer.compare(labels, before) === 0) return false;
    this.#labels[slot] = labels;
    if (before === undefined) return false;
    this.labelsVersion++;
    return true;
  }

  #release(id: NetnsId): void {
    const slot = this.#slots.get(id);
    this.#slots.delete(id);
    if (typeof slot !== 'number' || slot === NODE_SLOT || this.#isTaken(slot)) return;
    this.#free.push(slot);
    this.#listener.freed(slot);
  }
}

function isNode({ kind }: Entity): boolean {
  return kind === 'node';
}

/**
 * Chooses the entity to show for each set of labels. Two entities are shown as one if one of them is a Pod that shares
 * the node's namespace, and the other one is a namespace that the Pod has created.
 * @param hidden namespaces of entities that are currently hidden
 */
function chooseShown(entities: readonly Entity[], hidden: ReadonlySet<NetnsId>): Map<string, readonly Entity[]> {
  const shown = new Map<string, readonly Entity[]>();
  for (const entity of entities) {
    if (entity.isRetired) continue;
    const others = shown.get(keyOf(entity)) ?? [];
    const isSame = entity.uid !== '' && others[0]?.uid === entity.uid;
    if (!isSame) shown.set(keyOf(entity), [entity]);
    else if (others.every((other) => isHostPod(other) !== isHostPod(entity)))
      shown.set(keyOf(entity), [...others, entity]);
  }
  for (const entity of entities.filter(({ isRetired }) => isRetired).reverse()) {
    if (!hidden.has(entity.netns) && !shown.has(keyOf(entity))) shown.set(keyOf(entity), [entity]);
  }
  return shown;
}

function keyOf({ namespace, pod }: Entity): string {
  return `${namespace}\0${pod}`;
}
