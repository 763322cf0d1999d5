import { afterEach, beforeEach, expect } from 'vitest';
import { mappedMaps, openDescriptors, ownPrograms } from './process_state.ts';

/** Checks after each test in the file that the process has no more programs, maps, links or mappings than before it. */
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
