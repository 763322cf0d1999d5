import * as z from 'zod';

/** Body of every response whose status is not 2xx. */
export const FAILURE = z
  .strictObject({ error: z.string().min(1).describe('Description of the error, and what to do about it.') })
  .readonly();
export type Failure = z.infer<typeof FAILURE>;
