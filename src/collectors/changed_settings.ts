import { isDeepStrictEqual } from 'node:util';
import type { DesiredProbe } from '#probe/contract.ts';

type Settings = DesiredProbe['settings'];

/** Returns the settings by their keys in the configuration (`SettingKey`). */
function byKey({ events, limit, podFilter, records, options }: Settings): Readonly<Record<string, unknown>> {
  return { events, limit, pods: podFilter, records, ...options };
}

/** Returns the keys of the settings that differ, without those that only say what a page shows. */
export function changedSettings(before: Settings, after: Settings): string[] {
  const [old, now] = [byKey(before), byKey(after)];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].filter(
    (key) => !isDeepStrictEqual(old[key], now[key]),
  );
}
