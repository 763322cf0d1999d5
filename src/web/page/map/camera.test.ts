import { describe, expect, it } from 'vitest';
import { anchorOf, bounded, fittedScale, showing, zoomed } from './camera.ts';
import { layOut } from './layout.ts';

const FRAME = { width: 900, height: 600 };
const VIEW = { x: 0, y: 0, scale: 1 };

describe('the camera', () => {
  it('fits the picture into the frame, but never makes names unreadable', () => {
    expect(fittedScale({ width: 1_000, height: 100 }, 900)).toBe(0.9);
    expect(fittedScale({ width: 500, height: 100 }, 900)).toBe(1);
    expect(fittedScale({ width: 5_000, height: 100 }, 900)).toBe(0.72);
    expect(fittedScale({ width: 900, height: 900 }, 900)).toBe(0.8);
    // A picture that is too high for its frame is not made smaller in vain.
    expect(fittedScale({ width: 1_000, height: 5_000 }, 900)).toBe(0.9);
  });

  it('keeps the point under the pointer in place when it zooms', () => {
    const view = { x: -50, y: 20, scale: 0.8 };
    const { x, y, scale } = zoomed(view, 1.25, 300, 200);
    expect(scale).toBe(1);
    expect([(300 - x) / scale, (200 - y) / scale]).toEqual([(300 + 50) / 0.8, (200 - 20) / 0.8]);
    expect(zoomed(view, 1e9, 0, 0).scale).toBe(3);
    expect(zoomed(view, 0, 0, 0).scale).toBe(0.15);
  });

  it('keeps a part of the picture in the frame', () => {
    const size = { width: 1_000, height: 700 };
    expect(bounded({ ...VIEW, x: 9_999, y: 9_999 }, size, FRAME)).toEqual({ x: 840, y: 540, scale: 1 });
    expect(bounded({ ...VIEW, x: -9_999, y: -9_999 }, size, FRAME)).toEqual({ x: -940, y: -640, scale: 1 });
    expect(bounded(VIEW, size, FRAME)).toEqual(VIEW);
  });

  it('moves only as far as needed to show a box', () => {
    expect(showing(VIEW, { x: 400, y: 300 }, FRAME)).toEqual(VIEW);
    expect(showing(VIEW, { x: 1_000, y: 300 }, FRAME)).toEqual({ x: -168, y: 0, scale: 1 });
    expect(showing({ ...VIEW, y: -400 }, { x: 400, y: 100 }, FRAME)).toEqual({ x: 0, y: -74, scale: 1 });
  });

  it('holds the chosen box, or the one in the middle', () => {
    const boxes = ['a', 'b', 'c'].map((id) => ({ id, band: id, isLast: false }));
    const layout = layOut(boxes, []);
    expect(anchorOf(layout, 'a', VIEW, FRAME)).toBe('a');
    expect(anchorOf(layout, '', { ...VIEW, y: -10_000 }, FRAME)).toBe('c');
    expect(anchorOf(layOut([], []), '', VIEW, FRAME)).toBeUndefined();
  });
});
