/**
 * A parser for the Dockerfile instructions that our Dockerfile uses (https://docs.docker.com/reference/dockerfile/). It
 * rejects all others.
 */

interface Place {
  readonly line: number;
  /** Absolute path. */
  readonly workdir: string;
}

export interface Run extends Place {
  readonly kind: 'run';
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface Copy extends Place {
  readonly kind: 'copy';
  /** Name of the source stage; empty for the build context. */
  readonly from: string;
  readonly sources: readonly string[];
  readonly target: string;
}

export type Step = Run | Copy;

export interface Stage {
  readonly name: string;
  /** Name of the base image, such as `debian:bookworm-slim`. */
  readonly image: string;
  readonly steps: readonly Step[];
  readonly env: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly ports: readonly string[];
  readonly stopSignal: string;
}

/** The value of PATH in the base image. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

interface Instruction {
  readonly name: string;
  readonly rest: string;
  readonly line: number;
}

function instructionsOf(text: string): Instruction[] {
  const found: Instruction[] = [];
  let whole = '';
  let line = 0;
  for (const [index, raw] of text.split('\n').entries()) {
    if (/^\s*(#|$)/.test(raw)) continue;
    if (whole === '') line = index + 1;
    whole += raw.replace(/\\$/, '');
    if (raw.endsWith('\\')) continue;
    const [, name = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(whole) ?? [];
    found.push({ name: name.toUpperCase(), rest, line });
    whole = '';
  }
  if (whole !== '') throw new Error(`line ${line}: the instruction has no end`);
  return found;
}

/** Parses pairs such as `A=b C="d e"`. */
function pairs(text: string): [string, string][] {
  const found = [...text.matchAll(/([^\s=]+)=("[^"]*"|[^\s"]*)(?:\s+|$)/g)];
  if (found.map(([all]) => all).join('') !== text) throw new Error(`give NAME=VALUE or NAME="VALUE", not ${text}`);
  return found.map(([, name = '', value = '']) => [name, value.replace(/^"(.*)"$/, '$1')]);
}

function words(text: string): string[] {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list) || !list.every((word) => typeof word === 'string')) throw new Error('give a list of texts');
  return list;
}

class StageParser {
  readonly #image: string;
  readonly #name: string;
  readonly #variables: Record<string, string> = { PATH };
  readonly #steps: Step[] = [];
  readonly #labels: Record<string, string> = {};
  #env: Record<string, string> = { PATH };
  #workdir = '/';
  #user = '';
  #entrypoint: string[] = [];
  #cmd: string[] = [];
  #ports: string[] = [];
  #stopSignal = '';

  constructor(image: string, name: string) {
    this.#image = image;
    this.#name = name;
  }

  take({ name, rest, line }: Instruction, args: Readonly<Record<string, string>>, stages: readonly Stage[]): void {
    const place = { line, workdir: this.#workdir };
    switch (name) {
      case 'ARG': {
        if (args[rest] === undefined) throw new Error(`ARG ${rest} is not declared for the whole file`);
        this.#variables[rest] = args[rest];
        break;
      }
      case 'ENV':
        for (const [key, value] of pairs(rest)) {
          this.#variables[key] = substitute(value, this.#variables);
          this.#env = { ...this.#env, [key]: this.#variables[key] };
        }
        break;
      case 'LABEL':
        for (const [key, value] of pairs(rest)) this.#labels[key] = substitute(value, this.#variables);
        break;
      case 'WORKDIR':
        if (!rest.startsWith('/')) throw new Error('WORKDIR needs an absolute path');
        this.#workdir = rest;
        break;
      case 'RUN':
        if (/^(--|\[|<<)/.test(rest)) throw new Error('RUN is supported only in shell form, without flags');
        if (this.#user !== '') throw new Error('RUN is supported only as root');
        this.#steps.push({ ...place, kind: 'run', command: rest, env: this.#env });
        break;
      case 'COPY': {
        const [, from = '', list = ''] = /^(?:--from=(\S+)\s+)?(.*)$/.exec(rest) ?? [];
        if (/^--|["*?[\]<]/.test(list)) throw new Error('COPY is supported only with --from, and without wildcards');
        if (from !== '' && !stages.some((stage) => stage.name === from)) throw new Error(`no stage ${from}`);
        const sources = list.split(/\s+/);
        const target = sources.pop() ?? '';
        if (sources.length > 1 && !target.endsWith('/'))
          throw new Error('several sources need a target that ends in /');
        this.#steps.push({ ...place, kind: 'copy', from, sources, target });
        break;
      }
      case 'USER':
        if (!/^\d+:\d+$/.test(rest)) throw new Error('USER needs two numbers');
        this.#user = rest;
        break;
      case 'ENTRYPOINT':
        this.#entrypoint = words(rest);
        break;
      case 'CMD':
        this.#cmd = words(rest);
        break;
      case 'EXPOSE':
        this.#ports = rest.split(/\s+/);
        break;
      case 'STOPSIGNAL':
        this.#stopSignal = rest;
        break;
      default:
        throw new Error(`${name} is not supported`);
    }
  }

  finish(): Stage {
    return {
      ...{ name: this.#name, image: this.#image, steps: this.#steps, env: this.#env, labels: this.#labels },
      ...{ user: this.#user, entrypoint: this.#entrypoint, cmd: this.#cmd, ports: this.#ports },
      stopSignal: this.#stopSignal,
    };
  }
}

function substitute(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{?(\w+)\}?/g, (_all, name: string) => {
    const value = variables[name];
    if (value === undefined) throw new Error(`${name} has no value`);
    return value;
  });
}

/**
 * Parses the stages in order. The last stage is the image.
 * @param given values for ARG instructions
 * @throws if an instruction is invalid or unsupported; the message names the line
 */
export function parseDockerfile(text: string, given: Readonly<Record<string, string>> = {}): Stage[] {
  const args: Record<string, string> = {};
  const stages: Stage[] = [];
  let stage: StageParser | undefined;
  for (const instruction of instructionsOf(text)) {
    const { name, rest, line } = instruction;
    try {
      if (name === 'FROM') {
        const [, image = '', as = ''] = /^(\S+)(?:\s+AS\s+(\S+))?$/i.exec(rest) ?? [];
        if (image === '' || image.startsWith('--')) throw new Error('FROM is supported only without flags');
        if (stage !== undefined) stages.push(stage.finish());
        stage = new StageParser(substitute(image, args), as);
      } else if (stage !== undefined) stage.take(instruction, args, stages);
      else if (name === 'ARG') for (const [key, value] of pairs(rest)) args[key] = given[key] ?? value;
      else throw new Error(`${name} before FROM`);
    } catch (error) {
      throw new Error(`Dockerfile, line ${line}: ${(error as Error).message}`);
    }
  }
  if (stage === undefined) throw new Error('Dockerfile: no FROM');
  const unknown = Object.keys(given).filter((name) => !(name in args));
  if (unknown.length > 0) throw new Error(`Dockerfile: no ARG ${unknown.join(', ')}`);
  return [...stages, stage.finish()];
}

/**
 * Returns a function that checks whether a .dockerignore excludes a path. The last pattern that matches the path or one
 * of its parent directories decides.
 */
export function ignoreFilter(text: string): (path: string) => boolean {
  const rules = text
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line))
    .map((line) => {
      const pattern = line.trim().replace(/^!/, '');
      if (/[[\]\\]/.test(pattern)) throw new Error(`.dockerignore: ${line}: only *, ** and ? are supported`);
      const source = pattern
        .replace(/[.+^${}()|]/g, '\\$&')
        .replace(
          /\*\*\/|\*\*|\*|\?/g,
          (glob) => ({ '**/': '(?:.*/)?', '**': '.*', '*': '[^/]*', '?': '[^/]' })[glob] ?? '',
        );
      return { keeps: line.trim().startsWith('!'), matches: new RegExp(`^${source}(?:/.*)?$`) };
    });
  return (path) => rules.findLast(({ matches }) => matches.test(path))?.keeps === false;
}
