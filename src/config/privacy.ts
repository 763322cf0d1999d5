import * as z from 'zod';
import type { PrivacyRules } from '#core/privacy.ts';
import { namesTo } from './names_to.ts';

const shown = (what: string) => z.boolean().default(true).describe(what);

/** Rule of a namespace. */
export const PRIVACY_RULE = z.strictObject({
  paths: shown('Whether paths of requests are shown.'),
  names: shown('Whether names in DNS queries are shown.'),
  peers: shown(
    'Whether addresses and names of the other ends of connections are shown, also in labels and on the map.',
  ),
  traces: shown('Whether IDs of traces are shown, also as exemplars.'),
});

/** Schema of the section `privacy`. */
export const PRIVACY: z.ZodType<PrivacyRules> = namesTo(
  z.string(),
  z.preprocess((value) => value ?? {}, PRIVACY_RULE),
)
  .default({})
  .describe(
    'Data that events, records, exemplars and edges show, by namespace; `"*"` for all others: `{payments: {paths: false}}`.',
  );
