import type { Request } from 'express';
import type * as z from 'zod';
import type { Failure } from '#api/errors.ts';

/**
 * Returns the parameters of a request, or the first error in them. An unknown parameter is reported before an invalid
 * value.
 */
export function readQuery<T extends z.ZodObject>(schema: T, request: Request): z.output<T> | Failure {
  const { success, data, error } = schema.safeParse(request.query);
  if (success) return data;
  const [unknown] = error.issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []));
  if (unknown === undefined) return { error: error.issues[0]?.message ?? '' };
  return { error: `no such parameter: ${unknown}; there are ${Object.keys(schema.shape).join(', ')}` };
}

export function isFailure(value: object): value is Failure {
  return 'error' in value;
}
