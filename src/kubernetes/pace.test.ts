import { describe, expect, it } from 'vitest';
import { pauseMs, refusalPauseMs } from './pace.ts';

describe('the pace', () => {
  it('is a request a second, and slower with each failure, up to eight seconds', () => {
    expect([0, 1, 2, 3, 9].map((failures) => pauseMs(failures, 1))).toEqual([1_000, 2_000, 4_000, 8_000, 8_000]);
    expect([0, 1, 2, 3, 9].map((failures) => pauseMs(failures, 0))).toEqual([1_000, 1_000, 2_000, 4_000, 4_000]);
    expect([0, 1].map((random) => refusalPauseMs(119_999, random))).toEqual([0, 0]);
    expect([0, 1].map((random) => refusalPauseMs(120_000, random))).toEqual([30_000, 60_000]);
  });
});
