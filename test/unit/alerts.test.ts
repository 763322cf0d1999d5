import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ALERTS, anchor, RECORDINGS } from '../../dashboards/netsonde/alerts.ts';
import { CASES } from '../../dashboards/netsonde/alerts_test_file.ts';
import { EDGE_CASES } from '../../dashboards/netsonde/edge_cases.ts';
import { OPEN_TELEMETRY } from '../../dashboards/netsonde/opentelemetry.ts';
import { lacks } from '../support/programs.ts';
import { promtool } from '../support/promtool.ts';

const DIRECTORY = new URL('../../dashboards/rules/', import.meta.url);
const RULES = fileURLToPath(new URL('netsonde.yaml', DIRECTORY));
const RULES_TEST = fileURLToPath(new URL('netsonde.test.yaml', DIRECTORY));
const RUNBOOK = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');

const SENTENCES = /^[A-Za-z][^\n]*\.$/;

interface RulesFile {
  groups: { rules: { alert?: string; annotations?: { runbook_url: string } }[] }[];
}

describe('the rules', () => {
  it.skipIf(lacks('promtool'))('pass promtool', () => {
    const count = ALERTS.length + RECORDINGS.length;
    expect(promtool('check', 'rules', RULES, '')).toContain(`SUCCESS: ${count} rules found`);
  });

  it.skipIf(lacks('promtool'))('fire when they should, not earlier, and not for a neighbour', () => {
    expect(promtool('test', 'rules', RULES_TEST, '')).toMatch(/^\s*SUCCESS\s*$/m);
  });

  it('each have a case in that test', () => {
    expect(CASES.map(({ alert }) => alert)).toEqual(ALERTS.map(({ name }) => name));
    const { tests } = parse(readFileSync(RULES_TEST, 'utf8')) as { tests: { name: string }[] };
    expect(tests.map(({ name }) => name)).toEqual([...ALERTS, ...EDGE_CASES].map(({ name }) => name));
  });
});

it.skipIf(lacks('promtool'))('requests have the names of OpenTelemetry, and stay counters of a Pod', () => {
  const path = (name: string) => fileURLToPath(new URL(name, DIRECTORY));
  expect(promtool('check', 'rules', path('opentelemetry.yaml'), '')).toContain(
    `SUCCESS: ${OPEN_TELEMETRY.length} rules found`,
  );
  expect(promtool('test', 'rules', path('opentelemetry.test.yaml'), '')).toMatch(/^\s*SUCCESS\s*$/m);
});

const { groups } = parse(readFileSync(RULES, 'utf8')) as RulesFile;

describe.each(ALERTS.map((alert) => [alert.name, alert] as const))('%s', (name, alert) => {
  it('describes the event and the remedy', () => {
    expect(alert.summary).toMatch(/[^\n]\.$/);
    expect(alert.summary).toContain('{{');
    expect(alert.description).toMatch(SENTENCES);
  });

  it('has a section in the runbook, and links to it', () => {
    expect(RUNBOOK).toMatch(new RegExp(`^### ${name}$`, 'm'));
    const [rule] = groups.flatMap(({ rules }) => rules.filter((candidate) => candidate.alert === name));
    expect(rule?.annotations?.runbook_url).toMatch(new RegExp(`/docs/runbook\\.md#${anchor(alert)}$`));
  });
});

it('is critical for few alerts only', () => {
  const critical = ALERTS.filter(({ severity }) => severity === 'critical');
  expect(critical.map(({ name }) => name)).toEqual([
    'NetsondeNodeLossy',
    'NetsondeConntrackFull',
    'NetsondeBacklogOverrun',
    'NetsondeNeighbourTableFull',
  ]);
});
