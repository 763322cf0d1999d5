import { configSchema } from '#config/schema.ts';
import { PROBES } from '#probes/index.ts';
import { configTemplate } from './config_template.ts';
import { SECCOMP_PROFILE } from './seccomp_profile.ts';
import { writeGenerated } from './write_generated.ts';

/**
 * Writes two parts of the manifests: the configuration, which contains every option of the schema, and the seccomp
 * profile.
 */

const MANIFESTS = new URL('../manifests/', import.meta.url);

const HEAD = `# This document lists every option with its default. scripts/generate_manifests.ts generates it from the schema. To change an option, remove
# the first "# " from its line and from the lines of the sections that contain it. The agent applies changes at run time, and ignores invalid documents.
`;

const summaries = new Map(PROBES.map(({ name, summary }) => [name, summary]));
const document = `${HEAD}${configTemplate(configSchema(PROBES), summaries)}`;

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '    ');
}

writeGenerated(
  new URL('base/configmap.yaml', MANIFESTS),
  `apiVersion: v1
kind: ConfigMap
metadata:
  name: netsonde
  namespace: netsonde
  labels:
    app.kubernetes.io/name: netsonde
data:
  netsonde.yaml: |
${indented(document)}`,
);
writeGenerated(new URL('chart/files/netsonde.yaml', MANIFESTS), document);
writeGenerated(new URL('seccomp/netsonde.json', MANIFESTS), `${JSON.stringify(SECCOMP_PROFILE, null, 2)}\n`);
