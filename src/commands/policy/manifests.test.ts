import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { manifestsIn, readManifests } from './manifests.ts';

const folder = mkdtempSync(join(tmpdir(), 'manifests-'));
afterAll(() => rmSync(folder, { recursive: true }));

const kinds = (content: string) => manifestsIn(content, 'f').map(({ apiGroup, kind }) => [apiGroup, kind].join(' '));

describe('manifests', () => {
  it('are read from several documents, of which some are empty', () => {
    expect(
      kinds(
        '---\napiVersion: v1\nkind: Pod\n---\n# nothing\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n',
      ),
    ).toEqual([' Pod', 'networking.k8s.io NetworkPolicy']);
    expect(kinds('')).toEqual([]);
  });

  it('are read from lists, whose items may lack their kind', () => {
    const list = {
      apiVersion: 'v1',
      kind: 'List',
      items: [
        { apiVersion: 'v1', kind: 'Pod' },
        { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicyList', items: [{ metadata: { name: 'p' } }] },
      ],
    };
    expect(kinds(JSON.stringify(list))).toEqual([' Pod', 'networking.k8s.io NetworkPolicy']);
    expect(kinds('apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]')).toEqual([
      ' Pod',
      ' Pod',
    ]);
    expect(kinds('{apiVersion: v1, kind: Pod}')).toEqual([' Pod']);
  });

  it.each([
    ['a number', '7', 'f, document 1: not a Kubernetes object'],
    ['a list', '[]', 'f, document 1: not a Kubernetes object'],
    ['no kind', 'apiVersion: v1', 'f, document 1: apiVersion or kind is missing'],
    ['malformed YAML', 'a: [', 'f: invalid YAML: '],
    [
      'a key that is given twice',
      'apiVersion: v1\nkind: Pod\nkind: Pod',
      'f: invalid YAML: the key kind is given twice',
    ],
    ['the second document', 'apiVersion: v1\nkind: Pod\n---\nfoo: 1', 'f, document 2: apiVersion or kind is missing'],
    ['an item', 'apiVersion: v1\nkind: List\nitems: [1]', 'f, document 1, item 1: not a Kubernetes object'],
    ['nested lists', JSON.stringify(nested(6)), 'lists are nested more than 4 deep'],
    ['deep brackets', '['.repeat(200), 'nested more than 100 deep'],
  ])('%s is refused', (_, content, message) => expect(() => manifestsIn(content, 'f')).toThrow(message));

  it('any text gives objects or a message that names the file', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (content) => {
        try {
          manifestsIn(content, 'the-file');
        } catch (error) {
          expect((error as Error).message).toContain('the-file');
        }
      }),
    );
  });

  it('a file that is no regular file is refused', async () => {
    const path = join(folder, 'pod.yaml');
    writeFileSync(path, 'apiVersion: v1\nkind: Pod\n');
    expect(await readManifests([path, path])).toHaveLength(2);
    await expect(readManifests([folder])).rejects.toThrow('is a directory');
    await expect(readManifests([join(folder, 'none')])).rejects.toThrow('there is no such file');
  });
});

function nested(depth: number): object {
  return depth === 0
    ? { apiVersion: 'v1', kind: 'Pod' }
    : { apiVersion: 'v1', kind: 'List', items: [nested(depth - 1)] };
}
