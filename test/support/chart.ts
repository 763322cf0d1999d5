import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import type { KubernetesObject } from './kustomize.ts';

const RENDERER = fileURLToPath(new URL('./render_chart/main.go', import.meta.url));

const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));

/** Go settings that use Debian's packages (installed by scripts/setup --test) and disable downloads. */
const GO = { GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '-mod=mod' };

/** Renders a chart with Go templates and sprig, as Helm does. */
export class ChartRenderer implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'netsonde-chart-'));
  readonly #program = join(CACHE, `render_chart-${createHash('sha256').update(readFileSync(RENDERER)).digest('hex')}`);

  /** Builds the renderer program if it does not exist. */
  constructor() {
    if (existsSync(this.#program)) return;
    const built = join(this.#folder, 'render_chart');
    execFileSync('go', ['build', '-o', built, RENDERER], { env: { ...process.env, ...GO } });
    mkdirSync(CACHE, { recursive: true });
    // The program is renamed atomically, because two tests may build it at the same time.
    copyFileSync(built, `${this.#program}.${process.pid}`);
    renameSync(`${this.#program}.${process.pid}`, this.#program);
  }

  /** @throws if a template fails; the error contains the template engine's message */
  render(chart: string, values: unknown = {}, namespace = 'netsonde', release = 'netsonde'): KubernetesObject[] {
    const file = join(this.#folder, 'values.yaml');
    // The file is written as JSON, which is also valid YAML.
    writeFileSync(file, JSON.stringify(values));
    const text = execFileSync(this.#program, [chart, file, namespace, release], { encoding: 'utf8', stdio: 'pipe' });
    return parseAllDocuments(text).map((document) => {
      if (document.errors[0] !== undefined) throw document.errors[0];
      return document.toJS() as KubernetesObject;
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
