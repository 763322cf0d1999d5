import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { isSeries, METRICS } from '../support/descriptors.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const NOT_OURS = new Set(['node_modules', 'dist', '.git', '.cache']);
/** This file mentions names that no longer exist. */
const CHANGELOG = 'CHANGELOG.md';
const FENCE = /^(`{3,}|~{3,}).*?^\1/gms;

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : markdownFiles(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** Returns the text of a file without its code blocks. */
function prose(path: string): string {
  return readFileSync(path, 'utf8').replaceAll(FENCE, '');
}

/** Returns the anchors that GitHub gives to the headings. Repeated headings get a number. */
function anchorsOf(path: string): Set<string> {
  const counts = new Map<string, number>();
  return new Set(
    [...prose(path).matchAll(/^#{1,6} +(.*?) *#*$/gm)].map(([, heading = '']) => {
      const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
      const anchor = text.replaceAll(/[^\p{L}\p{N}_ -]/gu, '').replaceAll(' ', '-');
      const count = counts.get(anchor) ?? 0;
      counts.set(anchor, count + 1);
      return count === 0 ? anchor : `${anchor}-${count}`;
    }),
  );
}

/** Returns the targets of links and images, except URLs. */
function linksOf(path: string): string[] {
  const text = prose(path).replaceAll(/`[^`]*`/g, '``');
  const inline = [...text.matchAll(/\]\(<?([^)\s>]+)>?(?: +"[^"]*")?\)/g)];
  const references = [...text.matchAll(/^\[[^\]^][^\]]*\]: +(\S+)/gm)];
  return [...inline, ...references]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z][a-z+.-]*:/.test(target));
}

function faultOf(path: string, target: string): string | undefined {
  const [file = '', anchor] = target.split('#');
  const to = file === '' ? path : resolve(dirname(path), decodeURIComponent(file));
  if (!existsSync(to)) return 'no such file';
  if (relative(ROOT, to).startsWith('..')) return 'outside the repository';
  if (anchor === undefined) return undefined;
  if (statSync(to).isDirectory() || !to.endsWith('.md')) return 'an anchor in a file that is not Markdown';
  return anchorsOf(to).has(anchor) ? undefined : 'no such heading';
}

it('every relative link of every Markdown file leads somewhere', () => {
  const files = markdownFiles(ROOT);
  const links = files.flatMap((path) => linksOf(path).map((target) => ({ path, target })));
  const faults = links.flatMap(({ path, target }) => {
    const fault = faultOf(path, target);
    return fault === undefined ? [] : [`${relative(ROOT, path)}: ${target}: ${fault}`];
  });
  expect(faults).toEqual([]);
  // Guards against a search that finds no files or links.
  expect(files.map((path) => relative(ROOT, path))).toEqual(expect.arrayContaining(['README.md', 'docs/runbook.md']));
  expect(links.length).toBeGreaterThan(200);
});

it('every metric that a Markdown file names exists', () => {
  const names = new Set(METRICS.map(({ name }) => name));
  const unknown = markdownFiles(ROOT)
    .filter((path) => relative(ROOT, path) !== CHANGELOG)
    .flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/\bnetsonde_[a-z][a-z0-9_]*[a-z0-9](?![\w{*])/g)]
        .filter(([name]) => !names.has(name) && !isSeries(name))
        .map(([name]) => `${relative(ROOT, path)}: ${name}`),
    );
  expect(unknown).toEqual([]);
});

it('every file of src/ that a document names exists', () => {
  const named = markdownFiles(ROOT)
    .filter((path) => !path.endsWith(CHANGELOG))
    .flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/`(src\/[\w./]*\w)`/g)].map(([, file = '']) => [path, file]),
    );
  expect(named.length).toBeGreaterThan(50);
  const gone = named.filter(([, file = '']) => !existsSync(join(ROOT, file)));
  expect(gone.map(([path = '', file]) => `${relative(ROOT, path)}: ${file}`)).toEqual([]);
});
