import { describe, expect, it } from 'vitest';
import { findingsIn } from '../../scripts/words.ts';

const rulesOf = (file: string, text: string) => findingsIn(file, text).map(({ line, rule }) => `${line} ${rule.name}`);

describe('sentences of code', () => {
  it.each([
    ['/** What a page may take. */', '1 clause as subject'],
    ['// Of a Pod that has ended.', '1 opening with "Of"'],
    ['/**\n * Bytes of a page. What is\n * left over is counted.\n */', '2 clause as subject'],
    ['const a = 1; // So many of them.', '1 opening with "So"'],
    ["help: 'Those that are configured.',", '1 pronoun as subject'],
    ['/** How many wait. */', '1 opening with "Which" or "How" as a noun'],
    ['/** @param text garbled or not */', '1 word of our own'],
  ])('%j breaks a rule', (text, found) => expect(rulesOf('a.ts', text)).toEqual([found]));

  it.each([
    ['/** Bytes that a page may take. */'],
    ['// Records of a Pod that has ended.'],
    ["const name = 'What';"],
    ["help: 'Which Pod lost packets?',"],
    ['what = Of(1);'],
    ['/** `What` is a name here. */'],
  ])('%j breaks none', (text) => expect(rulesOf('a.ts', text)).toEqual([]));

  it('begins a new block at each tag, and counts lines from the first of the block', () => {
    expect(rulesOf('a.c', 'int a;\n/* Rows.\n * Who asks. */\n')).toEqual(['2 clause as subject']);
    expect(rulesOf('a.sh', 'set -e\n# Of each mount.\n')).toEqual(['2 opening with "Of"']);
  });
});

describe('sentences of documents', () => {
  it('reads paragraphs, items and cells, and neither headings nor code', () => {
    const text = '# What runs\n\nWhat runs is\nsaid.\n\n- Who asks.\n\n| a | Of it |\n\n```\n# What\nOf it\n```\n';
    expect(rulesOf('a.md', text)).toEqual(['3 clause as subject', '6 clause as subject', '8 opening with "Of"']);
  });
});
