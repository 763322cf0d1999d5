import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, stringify } from 'yaml';
import type { KubernetesObject } from './kustomize.ts';

const RENDERER = fileURLToPath(new URL('./render_chart/main.go', import.meta.url));

/** Debian's packages of Go, which scripts/setup --test installs; nothing is fetched. */
const GO = { GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '-mod=mod' };

/** Renders a chart by the templates of Go and sprig, as Helm does. */
export class ChartRenderer implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'netsonde-chart-'));
  readonly #program = join(this.#folder, 'render_chart');

  constructor() {
    execFileSync('go', ['build', '-o', this.#program, RENDERER], { env: { ...process.env, ...GO } });
  }

  /** @throws with what a template says */
  render(chart: string, values: unknown = {}, namespace = 'netsonde'): KubernetesObject[] {
    const file = join(this.#folder, 'values.yaml');
    writeFileSync(file, stringify(values));
    const text = execFileSync(this.#program, [chart, file, namespace], { encoding: 'utf8' });
    return parseAllDocuments(text).map((document) => {
      if (document.errors[0] !== undefined) throw document.errors[0];
      return document.toJS() as KubernetesObject;
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
