import * as z from 'zod';
import { isNetwork } from '#core/network_list.ts';
import { EXTERNAL_BY, type ExternalConfig } from '#peers/external.ts';
import { namesTo } from './names_to.ts';

/** Maximum number of named networks. Each address without an owner is compared with all of them. */
const NETWORKS_MAX = 256;
/** Syntax of network names, which are used as label values. */
const NAME = /^[\w][\w. -]{0,62}$/;

/** Schema of the section `external`, which names the peers that are not in the cluster. */
export const EXTERNAL: z.ZodType<ExternalConfig> = z.strictObject({
  names: namesTo(z.string(), z.string())
    .superRefine((names, context) => {
      const fault = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
      if (Object.keys(names).length > NETWORKS_MAX) fault([], `at most ${NETWORKS_MAX} networks`);
      for (const [network, name] of Object.entries(names)) {
        if (!isNetwork(network)) fault([network], 'a network in CIDR notation as key, like 10.9.0.0/16 or fd00::/48');
        else if (!NAME.test(name)) {
          fault(
            [network],
            'a name of at most 63 letters, digits, spaces and . _ -, starting with a letter, digit or _',
          );
        }
      }
    })
    .default({})
    .describe(
      'Names of networks outside of the cluster, by network in CIDR notation: `{"10.9.0.0/16": datacenter}`. The longest prefix wins.',
    ),
  by: z
    .enum(EXTERNAL_BY)
    .default('collapse')
    .describe(
      'How other public addresses are distinguished: `collapse` for not at all, `network` by their /24 or /48, `address` for each address.',
    ),
});
