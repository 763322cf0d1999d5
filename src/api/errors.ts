import * as z from 'zod';

/** The body of every answer that is not 2xx. */
export const FAILURE = z
  .strictObject({ error: z.string().min(1).describe('Fault, and what to do, in words.') })
  .readonly();
export type Failure = z.infer<typeof FAILURE>;
