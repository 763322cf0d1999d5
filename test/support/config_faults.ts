import { ConfigError } from '#config/faults.ts';
import { ConfigReader } from '#config/load.ts';
import { PROBES } from '#probes/index.ts';

const reader = new ConfigReader(PROBES);

/** Returns the errors in a configuration, one per element; empty if it is valid. */
export function faultsOf(text: string): string[] {
  try {
    reader.parse(text);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
}
