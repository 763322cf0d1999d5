import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MODELS, panelsOf } from '../support/dashboards.ts';
import { isSeries } from '../support/descriptors.ts';
import { isLogql } from '../support/logql.ts';
import { lacks } from '../support/programs.ts';
import { checkPromql } from '../support/promtool.ts';

const DOCS = new URL('../../docs/', import.meta.url);
const RUNBOOK = readFileSync(new URL('runbook.md', DOCS), 'utf8');

function blocks(language: string): string[] {
  return [...RUNBOOK.matchAll(new RegExp(`^\`\`\`${language}\\n([^\`]*)\`\`\``, 'gm'))].map(([, text = '']) =>
    text.trim(),
  );
}

describe('the runbook', () => {
  it('links to existing panels', () => {
    const known = MODELS.flatMap((model) =>
      panelsOf(model).map(({ title }) => `${model.title.replace('netsonde / ', '')}: ${title}`),
    );
    const named = [
      ...RUNBOOK.replaceAll(/\s+/g, ' ').matchAll(/\*((?:Cluster|Pod|Node|Flows|Events|Agent): [^*]+)\*/g),
    ];
    expect(named.length).toBeGreaterThan(30);
    for (const [, panel] of named) expect(known).toContain(panel);
  });

  it('names a probe, a panel and a query for each symptom', () => {
    const [first = ''] = RUNBOOK.split(/^## Alerts$/m);
    const symptoms = first.split(/^### /m).slice(1);
    expect(symptoms.length).toBeGreaterThan(9);
    for (const symptom of symptoms) {
      const [title = ''] = symptom.split('\n');
      expect(symptom, title).toMatch(/\bprobes?\b/i);
      expect(symptom, title).toMatch(/\*(Cluster|Pod|Node|Flows|Events|Agent): /);
      expect(symptom, title).toMatch(/^```(promql|logql)$/m);
    }
  });

  it.skipIf(lacks('promtool'))('has queries that Prometheus understands, of existing metrics', () => {
    const queries = blocks('promql');
    expect(queries.length).toBeGreaterThan(5);
    checkPromql(queries);
    for (const name of queries.flatMap((query) => query.match(/netsonde_\w+/g) ?? []))
      expect(isSeries(name), name).toBe(true);
  });

  it('has queries that Loki understands', () => {
    const queries = blocks('logql');
    expect(queries.length).toBeGreaterThan(2);
    for (const query of queries) expect(isLogql(query), query).toBe(true);
  });
});
