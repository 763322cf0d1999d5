import { stringify } from 'yaml';
import { rules } from '../dashboards/netsonde/alerts.ts';
import { alertsTestFile } from '../dashboards/netsonde/alerts_test_file.ts';
import { DASHBOARDS } from '../dashboards/netsonde/index.ts';
import { openTelemetryRules, openTelemetryTestFile } from '../dashboards/netsonde/opentelemetry.ts';
import { writeGenerated } from './write_generated.ts';

/** Writes dashboards/grafana/*.json, and the rules with their tests, from dashboards/netsonde. */

const DIRECTORY = new URL('../dashboards/', import.meta.url);
const RULE_FILE = 'netsonde.yaml';
const OPEN_TELEMETRY = 'opentelemetry.yaml';
const NOTICE = 'Made by scripts/generate_dashboards.ts from dashboards/netsonde. Do not edit.';

for (const dashboard of DASHBOARDS) {
  writeGenerated(new URL(`grafana/${dashboard.uid}.json`, DIRECTORY), `${JSON.stringify(dashboard, undefined, 2)}\n`);
}

function writeRules(name: string, content: unknown): void {
  writeGenerated(new URL(`rules/${name}`, DIRECTORY), `# ${NOTICE}\n${stringify(content, { lineWidth: 0 })}`);
}

writeRules(RULE_FILE, rules());
writeRules('netsonde.test.yaml', alertsTestFile(RULE_FILE));
writeRules(OPEN_TELEMETRY, openTelemetryRules());
writeRules('opentelemetry.test.yaml', openTelemetryTestFile(OPEN_TELEMETRY));
