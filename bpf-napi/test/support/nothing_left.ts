import { afterEach, beforeEach, expect } from 'vitest';
import { mappedMaps, openDescriptors, ownPrograms } from './process_state.ts';

/** After each test of the file the process must hold what it held before: no program, map, link or mapping more. */
export function expectNothingLeft(): void {
  let before: string[];
  beforeEach(() => {
    before = openDescriptors();
  });
  afterEach(() => {
    expect(ownPrograms()).toEqual([]);
    expect(openDescriptors()).toEqual(before);
    expect(mappedMaps()).toBe(0);
  });
}
