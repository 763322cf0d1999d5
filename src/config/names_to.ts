import * as z from 'zod';

/**
 * Returns the schema of a mapping with user-defined keys. It rejects the key `__proto__`, which zod would drop
 * silently.
 */
export function namesTo<Key extends z.core.$ZodRecordKey, Value extends z.ZodType>(key: Key, value: Value) {
  return z.preprocess(
    (given, context) => {
      if (typeof given === 'object' && given !== null && Object.hasOwn(given, '__proto__')) {
        context.issues.push({ code: 'custom', input: given, path: ['__proto__'], message: 'another name' });
      }
      return given;
    },
    z.record(key, value),
  );
}
