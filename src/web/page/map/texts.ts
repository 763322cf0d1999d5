import type { MapNode, MapReport } from '#api/map.ts';
import type { ICONS } from '../flows/icon.tsx';
import { GRADE_WORDS } from '../flows/verdict.ts';
import { bytesRate, count, percent, rate } from '../format.ts';
import type { EdgeView } from './model.ts';
import { fullNameOf } from './names.ts';
import type { Box, Line } from './picture.ts';
import type { Unplaced } from './signs.ts';
import { packetsText, type State } from './verdict.ts';

/**
 * Maximum widths of a name in a box, in units of one Latin letter: in the normal font, and in the small font that
 * longer names have.
 */
const NAME_FITS = 12;
const NAME_MOST = 16;

/** Scripts whose letters are about twice as wide as Latin letters. */
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f000}-\u{3ffff}]/u;

export function widthOf(text: string): number {
  let width = 0;
  for (const letter of text) width += WIDE.test(letter) ? 2 : 1;
  return width;
}

/** Shortens a name in the middle, because workload names often differ only at the beginning or end. */
export function fitted(name: string, most = NAME_MOST): string {
  if (widthOf(name) <= most) return name;
  const letters = [...name];
  let [head, tail] = ['', ''];
  for (let index = 0; index < letters.length; index++) {
    const start = letters[index] ?? '';
    const end = letters[letters.length - 1 - index] ?? '';
    if (widthOf(head + tail + start) > most - 1) break;
    head += start;
    if (widthOf(head + tail + end) > most - 1) break;
    tail = end + tail;
  }
  return `${head}…${tail}`;
}

export function isLong(name: string): boolean {
  return widthOf(name) > NAME_FITS;
}

export function stateWords(state: State): string {
  return state === 'ok' ? 'no trouble' : GRADE_WORDS[state];
}

const MEMBERS: Readonly<Partial<Record<MapNode['kind'], string>>> = {
  local: 'namespace',
  node: 'node',
  pod: 'Pod',
  service: 'Service',
};

/** Describes how many nodes a box represents. Without Kubernetes, these are network namespaces. */
export function membersText({ members, memberKinds }: Pick<Box, 'members' | 'memberKinds'>): string {
  const [kind, ...others] = memberKinds;
  const word = (others.length === 0 && kind !== undefined && MEMBERS[kind]) || 'workload';
  return `${count(members.length)} ${word}${members.length === 1 ? '' : 's'}`;
}

/** Returns the text of the second line of a box. */
export function underName(box: Box, hub: { asks: number; asked: number } | undefined, unknownBytes: number): string {
  if (box.kind === 'group') return membersText(box);
  if (box.kind === 'unknown' && box.isLast) return `${percent(unknownBytes)} of bytes`;
  if (hub !== undefined) return hub.asks > hub.asked ? `asks ${hub.asks}` : `asked by ${hub.asked}`;
  // A Service may have the name of the workload behind it, which is another box.
  const kind = box.kind === 'service' ? 'Service ' : '';
  if (box.bytesRate > 0) return `${kind}${bytesRate(box.bytesRate)}`;
  return box.kind === 'workload' ? 'no bytes' : (MEMBERS[box.kind] ?? box.kind);
}

/**
 * Returns the name of a box for screen readers and voice control. It begins with the text that is visible in the box
 * (WCAG 2.5.3).
 * @param sub second line of the box
 */
export function labelOfBox({ title, fullTitle, kind, bytesRate: bytes, troubles }: Box, sub: string): string {
  const shown = fitted(title);
  const parts = [shown, sub];
  if (fullTitle !== shown) parts.push(fullTitle);
  if (kind !== 'group') parts.push(kind);
  if (!sub.endsWith(bytesRate(bytes))) parts.push(bytesRate(bytes));
  return [...parts, troubles === 0 ? 'no trouble' : `${troubles} in trouble`].join(', ');
}

export function labelOfLine({ edges, trouble, bytesRate: bytes }: Line): string {
  const [first] = edges;
  const others = edges.length > 1 ? ` and ${edges.length - 1} more` : '';
  const verdict = trouble === undefined ? 'no trouble' : `${trouble.text}, ${stateWords(trouble.grade)}`;
  return `${first?.title ?? ''}${others}, ${verdict}, ${bytesRate(bytes)}${requestsText(edges)}`;
}

/** Returns the rate of the requests over edges, after a comma; empty if there were none. */
export function requestsText(edges: readonly Pick<EdgeView, 'counts' | 'seconds'>[]): string {
  const known = edges.filter(({ seconds }) => seconds > 0);
  const perSecond = known.reduce((sum, { counts, seconds }) => sum + (counts?.requests.requests ?? 0) / seconds, 0);
  return perSecond === 0 ? '' : `, ${rate(perSecond)} requests/s`;
}

/** Returns the ends of an edge with their namespaces. */
export function endsOf({ source, target }: Pick<EdgeView, 'source' | 'target'>): string {
  return `${fullNameOf(source)} → ${fullNameOf(target)}`;
}

const ADDRESSES_SHOWN = 3;

/** Returns the addresses outside of the cluster that an edge stands for; empty if none is known. */
export function outsideText({ outside }: Pick<EdgeView, 'outside'>): string {
  if (outside.length === 0) return '';
  const more = outside.length - ADDRESSES_SHOWN;
  const shown = outside.slice(0, ADDRESSES_SHOWN).join(', ');
  return `; outside: ${shown}${more > 0 ? ` and ${count(more)} more` : ''}`;
}

/** Returns the width of a line in pixels. It grows with the logarithm of the bytes per second. */
export function thickness(bytesPerSecond: number): number {
  if (bytesPerSecond <= 0) return 1;
  return Math.min(7, Math.max(1, 1 + 1.15 * Math.log10(bytesPerSecond / 1e3)));
}

/** Names of the kinds of lines in the legend. */
export const KIND_WORDS: Readonly<Record<keyof typeof ICONS, string>> = {
  refused: 'refused',
  denied: 'denied',
  timeout: 'no response',
  failed: 'failed',
  full: 'accept queue full',
  lossy: 'lossy',
  slow: 'slow',
  errors: 'requests fail',
};

/** Returns a sentence about dropped packets that no line shows, with the reasons; empty if there are none. */
export function unplacedText({ unowned, otherProtocol, withoutEdge }: Unplaced, udp: MapReport['udp']): string {
  const reasons = [
    [withoutEdge, 'between ends without a connection on this map'],
    [otherProtocol, udp === 'off' ? 'not TCP' : 'neither TCP nor UDP'],
    [unowned, 'in network namespaces that belong to no Pod or node of this agent'],
  ] as const;
  const found = reasons.filter(([packets]) => packets > 0);
  const sum = found.reduce((total, [packets]) => total + packets, 0);
  if (sum === 0) return '';
  const parts = found.map(([packets, words]) => `${count(packets)} ${words}`).join('; ');
  return ` No line shows ${packetsText(sum)} dropped in the last minute: ${parts}.`;
}
