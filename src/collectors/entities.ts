import type { EntityKind } from '#api/words.ts';
import { type NetnsId, UNLISTED } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { renderLabels } from './labels.ts';
import { encode } from './text_writer.ts';

/** Slot of the node: for machine-wide numbers, and for its own namespace. */
export const NODE_SLOT = 0;

/** Slot of all unowned namespaces together. */
export const UNLISTED_SLOT = 1;

export type Attribution = 'unknown' | 'shadowed' | number;

/** Callbacks about slots. */
export interface SlotListener {
  /** Called when the slot has no entity any more. */
  freed(slot: number): void;
  /** Called when the entity of the slot has died, and keeps its last values. */
  retired(slot: number): void;
  /** Called when the entity of the slot has other labels. */
  renamed?(slot: number): void;
  /** Returns whether a namespace has only just begun, so that it had counted nothing before it got its slot. */
  isNew?(id: NetnsId): boolean;
  /** Returns the time of a monotonic clock. */
  nowMs?(): number;
}

interface Arrival {
  readonly atMs: number;
  /** Whether it came with a namespace that had only just begun. */
  readonly isNew: boolean;
}

const NO_ENTITY = { namespace: '', pod: '' };
const UNLISTED_ENTITY = { namespace: '', pod: 'unlisted' };
/** Arrival of slots that always exist. */
const ALWAYS: Arrival = { atMs: Number.NEGATIVE_INFINITY, isNew: false };

/**
 * The entities that samples may belong to, each in a slot: a small number that families use as an index. The labels of a slot are
 * rendered once.
 */
export class EntityTable {
  readonly #listener: SlotListener;
  readonly #slots = new Map<NetnsId, Attribution>([[UNLISTED, UNLISTED_SLOT]]);
  #entities: readonly Entity[] = [];
  readonly #byId = new Map<NetnsId, Entity>();
  readonly #labels: Uint8Array[] = [encode(renderLabels(NO_ENTITY)), encode(renderLabels(UNLISTED_ENTITY))];
  readonly #free: number[] = [];
  #shadowed = 0;
  /** Increases whenever a namespace may have another slot than before. */
  version = 0;
  /** Increases whenever a slot has other labels than last, including those of another entity. */
  labelsVersion = 0;

  /** Arrivals, by slot. */
  readonly #arrivals: Arrival[] = [ALWAYS, ALWAYS];

  constructor(listener: SlotListener) {
    this.#listener = listener;
  }

  /**
   * Takes the current entities, and after them the retired ones, in the order of their deaths. Where two have equal labels, the later
   * one is shown, unless they are the same Pod or container: then one of its processes has made a namespace of its own, and the first is
   * the Pod's. A live entity goes before a dead one, and an entity that was hidden in life stays hidden. An entity with another name
   * than before keeps its slot, and the sums in it.
   * @param noLabels configured labels as the node shows them: empty
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
      if (!isSame || shown.get(keyOf(now)) !== now) this.#release(id);
    }
    for (const entity of entities) {
      if (shown.get(keyOf(entity)) === entity) {
        this.#assign(entity, before.get(entity.netns)?.isRetired === true);
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

  /** Returns the entities that are shown, including dead ones, with their slots. */
  shown(): { readonly entity: Entity; readonly slot: number }[] {
    return [...this.#byId.values()].flatMap((entity) => {
      const slot = this.#slots.get(entity.netns);
      return typeof slot === 'number' ? [{ entity, slot }] : [];
    });
  }

  /** Number above all slots in use. */
  get slots(): number {
    return this.#labels.length;
  }

  /** Number of times that an entity had to give way to a newer one with the same labels. */
  get shadowed(): number {
    return this.#shadowed;
  }

  find(id: NetnsId): Entity | undefined {
    return this.#byId.get(id);
  }

  attribute(id: NetnsId): Attribution {
    return this.#slots.get(id) ?? 'unknown';
  }

  /** `namespace="…",pod="…"` and configured labels, rendered. */
  labelsOf(slot: number): Uint8Array {
    return this.#labels[slot] as Uint8Array;
  }

  /** Returns the arrival of the entity in the slot. */
  arrivalOf(slot: number): Arrival {
    return this.#arrivals[slot] as Arrival;
  }

  countByKind(): Map<EntityKind, number> {
    const counts = new Map<EntityKind, number>();
    for (const { kind } of this.#entities) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return counts;
  }

  #assign(entity: Entity, wasRetired: boolean): void {
    if (isNode(entity)) {
      this.#slots.set(entity.netns, NODE_SLOT);
      return;
    }
    let slot = this.#slots.get(entity.netns);
    const isNew = typeof slot !== 'number';
    if (typeof slot !== 'number') {
      slot = this.#free.pop() ?? this.#labels.length;
      this.#slots.set(entity.netns, slot);
    }
    const labels = encode(renderLabels({ namespace: entity.namespace, pod: entity.pod, ...entity.labels }));
    // A new name takes the values along, since those of a dead entity do not come again.
    if (this.#label(slot, labels) && !isNew) this.#listener.renamed?.(slot);
    if (isNew) {
      const isNewborn = this.#listener.isNew?.(entity.netns) === true;
      this.#arrivals[slot] = { atMs: this.#listener.nowMs?.() ?? 0, isNew: isNewborn };
    }
    if (entity.isRetired && !wasRetired) this.#listener.retired(slot);
  }

  /** @returns whether the slot had other labels before */
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
    if (typeof slot !== 'number' || slot === NODE_SLOT) return;
    this.#free.push(slot);
    this.#listener.freed(slot);
  }
}

function isNode({ kind }: Entity): boolean {
  return kind === 'node';
}

/** Chooses the shown entity for each set of labels. @param hidden namespaces of entities that were hidden until now */
function chooseShown(entities: readonly Entity[], hidden: ReadonlySet<NetnsId>): Map<string, Entity> {
  const shown = new Map<string, Entity>();
  for (const entity of entities) {
    if (entity.isRetired) continue;
    const other = shown.get(keyOf(entity));
    if (other === undefined || entity.uid === '' || other.uid !== entity.uid) shown.set(keyOf(entity), entity);
  }
  for (const entity of entities.filter(({ isRetired }) => isRetired).reverse()) {
    if (!hidden.has(entity.netns) && !shown.has(keyOf(entity))) shown.set(keyOf(entity), entity);
  }
  return shown;
}

function keyOf({ namespace, pod }: Entity): string {
  return `${namespace}\0${pod}`;
}
