import { describe, expect, it } from 'vitest';
import { convertText } from './convert.ts';
import { NotKubeskoop } from './kubeskoop/input.ts';

function refusal(text: string): string {
  try {
    convertText(text, 'yaml');
  } catch (error) {
    if (error instanceof NotKubeskoop) return error.message;
    throw error;
  }
  throw new Error('was accepted');
}

describe('an input that is not a configuration of KubeSkoop is refused', () => {
  it.each([
    ['', /^empty$/],
    ['# nothing\n---\n', /^empty$/],
    ['hello', /^"hello" is not a configuration, which is a mapping of keys to values$/],
    ['- tcp', /^\["tcp"\] is not a configuration/],
    ['metrics: {', /^invalid YAML: .* at line 1, column 11$/],
    ['metrics:\n  probes: []\n probes: []', /^invalid YAML: .* at line 3, column 1$/],
    ['metrics: {}\nmetrics: {}', /^invalid YAML: the key metrics is given twice$/],
    ['a: {}\n---\nb: {}', /^2 documents, none of them a ConfigMap; give one$/],
    [
      'listen: 80',
      /^has neither `metrics` nor `event`: this is not a KubeSkoop configuration; its keys are \["listen"\]$/,
    ],
    ['probes: { tcp: true }\nsinks: {}', /but probes, sinks: this is a netsonde configuration already$/],
    ['config: { metricProbes: [] }', /these are values of KubeSkoop's chart; give the configuration that it renders/],
    ['metrics:\n  probes: tcp', /^line 2: metrics\.probes: "tcp" is not allowed; allowed: a list$/],
    ['metrics: 7', /^line 1: metrics: 7 is not allowed; allowed: a mapping of keys to values$/],
    [
      'port: many\nmetrics:\n  probes:\n    - name: 7',
      /^line 1: port: "many" is not allowed; allowed: .*\nline 4: metrics\.probes\.0\.name: 7 is not allowed; allowed: a string$/,
    ],
    ['event:\n  sinks:\n  - args: {}', /^line 3: event\.sinks\.0\.name: .*a string$/],
    ['event:\n  sinks:\n  - name: loki\n    args: x', /^line 4: event\.sinks\.0\.args: "x" is not allowed/],
    ['{apiVersion: v1, kind: Pod}', /^no ConfigMap among 1 Kubernetes objects$/],
    [
      '{apiVersion: v1, kind: ConfigMap, metadata: {name: n, namespace: s}, data: {b: c}}',
      /^no ConfigMap has the key config\.yaml; s\/n has \["b"\]$/,
    ],
    [
      '{apiVersion: v1, kind: ConfigMap, metadata: {name: n}, data: {config.yaml: "a: {"}}',
      /^config\.yaml of n: invalid YAML: /,
    ],
    [
      '{apiVersion: v1, kind: ConfigMap, metadata: {name: n}, data: {config.yaml: "{}"}}',
      /this is not a KubeSkoop configuration/,
    ],
    ['metrics:\n  probes:\n  {{- toYaml .Values.x }}', /render a Helm template first/],
  ])('%j', (text, message) => {
    expect(refusal(text)).toMatch(message);
  });

  it('if several ConfigMaps have one', () => {
    const map = (name: string) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\ndata: { config.yaml: "metrics: {}" }\n`;
    expect(refusal(`${map('a')}---\n${map('b')}`)).toBe(
      '2 ConfigMaps contain a KubeSkoop configuration: a, b; give one',
    );
    const others = map('a').replace('metrics', 'x');
    expect(refusal(`${others}---\n${others}`)).toBe("none of these ConfigMaps is KubeSkoop's: a, a");
  });

  it('if it is longer than any real one', () => {
    expect(refusal(`#${'x'.repeat(1024 * 1024)}`)).toBe('longer than 1048576 bytes');
  });

  it('if aliases would make it larger than the memory', () => {
    const levels = Array.from({ length: 30 }, (_, level) => `a${level}: &a${level} [${`*a${level - 1},`.repeat(9)}]`);
    expect(refusal(`a-1: &a-1 [x]\n${levels.join('\n')}\nmetrics: *a29`)).toMatch(/alias/);
  });

  it('however many keys or documents it has', () => {
    const keys = Array.from({ length: 10_000 }, (_, index) => `k${index}: 1`).join('\n');
    expect(convertText(`metrics: {}\n${keys}`, 'yaml').warnings.at(0)).toMatch(/9900 more keys/);
    expect(refusal('a: 1\n---\n'.repeat(10_000))).toMatch(/^10000 documents/);
  });
});
