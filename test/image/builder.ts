import { createHash } from 'node:crypto';
import {
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Copy, ignoreFilter, type Stage, type Step } from './dockerfile.ts';
import { MountedTree, makeBase, runIn } from './tree.ts';

const CACHE = fileURLToPath(new URL('../../.cache/image/', import.meta.url));
/** Working directory, which is removed at the end in all cases. */
export const WORK = join(CACHE, 'work');

/** A file, directory or link that a COPY instruction copies. */
interface Source {
  readonly path: string;
  /** Path in the image. */
  readonly target: string;
}

/** A stage that was built. */
export interface Built {
  readonly stage: Stage;
  /** Directories of the layers; the first one is the base. */
  readonly layers: readonly string[];
  /** Cache key of the last layer: a hash of all inputs of that layer. */
  readonly key: string;
}

function digest(...parts: (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length} `).update(part);
  return hash.digest('hex').slice(0, 16);
}

function* walk(path: string, target: string): Generator<Source> {
  yield { path, target };
  if (!lstatSync(path).isDirectory()) return;
  for (const name of readdirSync(path).sort()) yield* walk(join(path, name), join(target, name));
}

/**
 * Returns the files that a COPY instruction copies from the context.
 * @throws if a source is missing or completely ignored
 */
export function sourcesOf(
  { sources, target, workdir }: Copy,
  root: string,
  isIgnored: (path: string) => boolean,
): Source[] {
  return sources.flatMap((source) => {
    const path = join(root, source);
    if (!existsSync(path)) throw new Error(`COPY ${source}: there is no such file`);
    const isFolder = lstatSync(path).isDirectory();
    const into = resolve(workdir, target, isFolder || !target.endsWith('/') ? '.' : basename(source));
    const relative = (file: string) => file.slice(root.length).replace(/^\//, '');
    const found = [...walk(path, into)].filter((file) => !isIgnored(relative(file.path)));
    if (!found.some((file) => !lstatSync(file.path).isDirectory()))
      throw new Error(`COPY ${source}: all of it is ignored`);
    return found;
  });
}

function copyOne({ path, target }: Source, tree: MountedTree): void {
  const to = tree.at(target);
  const entry = lstatSync(path);
  mkdirSync(dirname(to), { recursive: true });
  if (entry.isDirectory()) mkdirSync(to, { recursive: true });
  else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(path), to);
  else {
    copyFileSync(path, to);
    chownSync(to, 0, 0);
  }
}

function fingerprint({ path, target }: Source): string {
  const entry = lstatSync(path);
  if (entry.isSymbolicLink()) return digest(target, readlinkSync(path));
  return digest(target, String(entry.mode), entry.isFile() ? readFileSync(path) : '');
}

/**
 * Builds stages in the same way as a container engine: each step creates a layer, and a step is not repeated if its
 * input has not changed.
 */
export class Builder {
  readonly #context: string;
  readonly #isIgnored: (path: string) => boolean;
  readonly #log: (line: string) => void;
  readonly #used = new Set<string>();
  #mounts = 0;

  constructor(context: string, log: (line: string) => void) {
    this.#context = context;
    this.#isIgnored = ignoreFilter(readFileSync(join(context, '.dockerignore'), 'utf8'));
    this.#log = log;
    rmSync(WORK, { recursive: true, force: true });
    mkdirSync(WORK, { recursive: true });
  }

  /** Builds all stages. The last one is the image. */
  async build(stages: readonly Stage[]): Promise<Built[]> {
    const built: Built[] = [];
    for (const stage of stages) {
      let current = this.#base(stage);
      for (const step of stage.steps) current = await this.step(current, step, built);
      built.push(current);
    }
    return built;
  }

  /** Builds a layer on top of another stage. */
  async step(below: Built, step: Step, others: readonly Built[] = []): Promise<Built> {
    const source = step.kind === 'copy' ? others.find(({ stage }) => stage.name === step.from) : undefined;
    using from = source === undefined ? undefined : this.mount(source);
    const { line: _, ...same } = step;
    const files =
      step.kind === 'run'
        ? []
        : sourcesOf(step, from?.root ?? this.#context, from === undefined ? this.#isIgnored : () => false);
    const key = digest(below.key, JSON.stringify(same), source?.key ?? files.map(fingerprint).join());
    const layer = await this.#layer(
      key,
      step.kind === 'run' ? `RUN ${step.command}` : `COPY to ${step.target}`,
      async () => {
        using tree = this.mount(below);
        if (step.kind === 'run') await runIn(tree, step.command, step.workdir, step.env);
        else for (const file of files) copyOne(file, tree);
        return tree.upper;
      },
    );
    return { stage: below.stage, layers: [...below.layers, layer], key };
  }

  /** Mounts a stage. Writes to it are discarded. */
  mount({ layers }: Built): MountedTree {
    return new MountedTree(layers, join(WORK, String(this.#mounts++)));
  }

  /** Removes all layers that were not used. */
  prune(): void {
    for (const name of readdirSync(CACHE)) {
      if (/^[0-9a-f]{16}$/.test(name) && !this.#used.has(name)) rmSync(join(CACHE, name), { recursive: true });
    }
  }

  #base(stage: Stage): Built {
    const suite = /^debian:([a-z]+)-\d{8}-slim(@sha256:[0-9a-f]{64})?$/.exec(stage.image)?.[1];
    if (suite === undefined) throw new Error(`FROM ${stage.image}: give debian:SUITE-YYYYMMDD-slim`);
    const layer = join(CACHE, `base-${suite}`);
    this.#used.add(basename(layer));
    if (!existsSync(layer)) {
      const begun = performance.now();
      const made = join(WORK, `base-${suite}`);
      makeBase(suite, made);
      renameSync(made, layer);
      this.#report(`FROM ${stage.image}`, begun);
    }
    return { stage, layers: [layer], key: basename(layer) };
  }

  async #layer(key: string, title: string, make: () => Promise<string>): Promise<string> {
    const layer = join(CACHE, key);
    this.#used.add(key);
    if (!existsSync(layer)) {
      const begun = performance.now();
      renameSync(await make(), layer);
      this.#report(title, begun);
    }
    return layer;
  }

  #report(title: string, begun: number): void {
    this.#log(`${((performance.now() - begun) / 1000).toFixed(1).padStart(6)} s  ${title.replace(/\s+/g, ' ')}`);
  }
}
