import type { MapDump } from 'bpf-napi';
import { flowKey, flowRow } from '#bpf/generated/common.ts';
import type { Translation } from './translation.ts';

/** Finds the real ends of the connections of watched rows. */
export interface RowTranslations {
  /**
   * @param text text of the row's key
   * @param at offset of the row's value
   */
  of(text: string, peer: string, view: DataView, at: number): Translation;
}

/** The rows in the kernel right after a walk. */
export interface FlowDump {
  readonly rows: MapDump;
  /** Rest rows by slot and role; undefined if all of them are empty. */
  readonly rests: MapDump | undefined;
  /** Number of the walk; undefined if no walk has run. In that case, sockets are counted only when they end. */
  readonly walk: number | undefined;
  /** Real ends of the connections of watched rows; undefined if they are unknown. */
  readonly translations?: RowTranslations | undefined;
}

/** Returns the bytes of a struct flow_key as text. */
export function keyText(view: DataView, at: number): string {
  return Buffer.from(view.buffer, view.byteOffset + at, flowKey.SIZE).toString('latin1');
}

/** Returns whether a walk set the values of a row's open sockets. */
export function isWalked(view: DataView, at: number, walk: number | undefined): boolean {
  return walk !== undefined && flowRow.walk(view, at) === walk;
}

/** Returns whether a row contains any counts. */
export function isUsed(view: DataView, at: number): boolean {
  for (let byte = 0; byte < flowRow.SIZE; byte += 4) if (view.getUint32(at + byte, true) !== 0) return true;
  return false;
}
