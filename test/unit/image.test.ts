import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { sourcesOf } from '../image/builder.ts';
import { type Copy, ignoreFilter, parseDockerfile } from '../image/dockerfile.ts';
import { shipped } from '../support/security_context.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const read = (path: string) => readFileSync(join(PROJECT, path), 'utf8');
const [build, image] = parseDockerfile(read('Dockerfile')) as [
  ReturnType<typeof parseDockerfile>[0],
  ReturnType<typeof parseDockerfile>[0],
];
const isIgnored = ignoreFilter(read('.dockerignore'));

describe('the Dockerfile', () => {
  it('starts from one dated image of Debian', () => {
    expect(image.image).toMatch(/^debian:[a-z]+-\d{8}-slim$/);
    expect(build.image).toBe(image.image);
    const digest = `bookworm-20260918-slim@sha256:${'0'.repeat(64)}`;
    expect(parseDockerfile(read('Dockerfile'), { DEBIAN: digest }).map((stage) => stage.image)).toEqual([
      `debian:${digest}`,
      `debian:${digest}`,
    ]);
  });

  it('copies existing paths that are not ignored', () => {
    const copies = build.steps.filter((step): step is Copy => step.kind === 'copy');
    const copied = copies.flatMap((copy) =>
      sourcesOf(copy, PROJECT, isIgnored).map(({ path }) => path.slice(PROJECT.length + 1)),
    );
    for (const path of ['src/main.ts', 'src/bpf/probes/packetloss.bpf.c', 'bpf-napi/src/addon.cc', 'bin/netsonde']) {
      expect(copied).toContain(path);
    }
    expect(copied.filter((path) => /\.test\.ts$|^(test|dist|\.\w)|node_modules|\/build\/|\.npmrc/.test(path))).toEqual(
      [],
    );
    expect(image.steps.filter((step) => step.kind === 'copy').map(({ from }) => from)).toEqual([build.name]);
  });

  it('a source that is missing or ignored is refused', () => {
    const copy = (source: string): Copy => ({
      ...{ kind: 'copy', from: '', line: 1, workdir: '/' },
      sources: [source],
      target: '.',
    });
    expect(() => sourcesOf(copy('sources'), PROJECT, isIgnored)).toThrow('COPY sources: there is no such file');
    expect(() => sourcesOf(copy('test'), PROJECT, isIgnored)).toThrow('COPY test: all of it is ignored');
  });

  it('agrees with the manifests and package.json', () => {
    const { container } = shipped([]);
    const { version } = JSON.parse(read('package.json')) as { version: string };
    expect(image.labels).toMatchObject({
      'org.opencontainers.image.title': container.image.split(':')[0],
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.base.name': `docker.io/library/${image.image}`,
    });
    expect(image.ports).toEqual(container.ports.map(({ containerPort }) => String(containerPort)));
    const { runAsUser, runAsGroup } = container.securityContext;
    expect(image.user).toBe(`${runAsUser}:${runAsGroup}`);
    // The image defines the entrypoint, and the manifests define the arguments.
    expect(container.command).toBeUndefined();
    expect(image.entrypoint).toEqual(['/opt/netsonde/bin/netsonde']);
    expect(image.cmd).toEqual([container.args[0]]);
  });

  it('is started by docs/image.md as by the DaemonSet', () => {
    const { container } = shipped([]);
    const [line = ''] = /docker run .*?[^\\]\n/s.exec(read('docs/image.md')) ?? [];
    expect([...line.matchAll(/--cap-add (\w+)/g)].map(([, name]) => name)).toEqual(
      container.securityContext.capabilities.add,
    );
    for (const { mountPath } of container.volumeMounts)
      if (mountPath !== '/etc/netsonde') expect(line).toContain(`:${mountPath}`);
    expect(line.trimEnd().endsWith(` ${container.image}`)).toBe(true);
  });

  it.each([
    ['FROM a\nADD b c', 'line 2: ADD is not supported'],
    ['FROM a\nRUN <<EOF', 'line 2: RUN is supported only in shell form, without flags'],
    ['FROM a\nRUN --mount=type=secret,id=npm b', 'line 2: RUN is supported only in shell form, without flags'],
    ['FROM a\nCOPY --from=build b c', 'line 2: no stage build'],
    ['FROM a\nCOPY --chown=1:1 b c', 'line 2: COPY is supported only with --from, and without wildcards'],
    ['FROM a\nCOPY *.ts c', 'line 2: COPY is supported only with --from, and without wildcards'],
    ['FROM a\nCOPY b c d', 'line 2: several sources need a target that ends in /'],
    ['FROM a\n\nLABEL b=$C', 'line 3: C has no value'],
    ['ARG B=1\nFROM a\nLABEL b=$B', 'line 3: B has no value'],
    ['FROM a\nENV B c', 'line 2: give NAME=VALUE or NAME="VALUE", not B c'],
    ['FROM a\nUSER node', 'line 2: USER needs two numbers'],
    ['FROM a\nRUN b \\', 'line 2: the instruction has no end'],
    ['RUN a', 'line 1: RUN before FROM'],
    ['FROM --platform=linux/amd64 a', 'line 1: FROM is supported only without flags'],
    ['ARG A=1', 'no FROM'],
  ])('%j is refused', (text, message) => expect(() => parseDockerfile(text)).toThrow(message));

  it('steps use the values at their place', () => {
    const text =
      'ARG B=1\nFROM a:$B AS c\nARG B\nENV D=x$B E="y z"\nWORKDIR /f\nRUN g \\\n# why\n  && h\nENV D=2\nRUN i';
    const [stage] = parseDockerfile(text, { B: '3' });
    expect(stage).toMatchObject({ name: 'c', image: 'a:3' });
    expect(stage?.steps).toMatchObject([
      { kind: 'run', command: 'g   && h', workdir: '/f', env: { D: 'x3', E: 'y z' }, line: 6 },
      { kind: 'run', command: 'i', env: { D: '2' }, line: 10 },
    ]);
    expect(() => parseDockerfile(text, { Z: '1' })).toThrow('no ARG Z');
  });
});

describe('.dockerignore', () => {
  it.each([
    '.git/HEAD',
    '.npmrc',
    '.env',
    '.cache/kernels',
    'node_modules/zod',
    'dist/main.js',
    'test/unit/x.ts',
    'a.pem',
  ])('keeps %s out', (path) => expect(isIgnored(path)).toBe(true));

  it.each([
    ['*\n!src\nsrc/**/*.test.ts', 'src/a.ts', false],
    ['*\n!src\nsrc/**/*.test.ts', 'src/a.test.ts', true],
    ['*\n!src\nsrc/**/*.test.ts', 'src/b/c/a.test.ts', true],
    ['# a\n\nsrc', 'src/b', true],
    ['src/?.ts', 'src/ab.ts', false],
    ['a.b', 'axb', false],
    ['a\n!a/b\na/b/c', 'a/b/c', true],
    ['a\n!a/b\na/b/c', 'a/b/d', false],
  ])('%j says of %s: %s', (text, path, ignored) => expect(ignoreFilter(text)(path)).toBe(ignored));

  it('an unsupported pattern is refused', () => {
    expect(() => ignoreFilter('[ab]')).toThrow('.dockerignore: [ab]');
  });
});
