import type { EventRecord } from './events.ts';

export interface EventEnds {
  readonly src?: string;
  readonly dst?: string;
  readonly protocol?: string;
}

/** Returns the ends of the packet that an event is about. For a packet in a tunnel, they are those of the inner packet. */
export function endsOf(event: EventRecord): EventEnds {
  const { innerSrc, innerDst, innerProtocol } = event;
  if (typeof innerSrc === 'string' && typeof innerDst === 'string' && typeof innerProtocol === 'string') {
    return { src: innerSrc, dst: innerDst, protocol: innerProtocol };
  }
  const { src, dst, protocol } = event;
  return {
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
    ...(protocol === undefined ? {} : { protocol }),
  };
}

/** Returns whether an event is about a packet in a tunnel whose inner addresses are known. */
export function isInTunnel(event: EventRecord): boolean {
  return typeof event['innerDst'] === 'string';
}
