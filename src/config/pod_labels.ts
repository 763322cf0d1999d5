import * as z from 'zod';
import { DERIVED_NAMES, type PodLabels } from '#pods/labels.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { MetricSet } from '#probe/metric.ts';
import { namesTo } from './names_to.ts';

/** Maximum number of labels. Each label is added to all series of all Pods. */
const LABELS_MAX = 8;
const LABEL_NAME_LENGTH_MAX = 63;

/** Label names that Prometheus, the Prometheus Operator or netsonde's own metrics use. */
const RESERVED = ['namespace', 'pod', 'node', 'job', 'instance', 'le', 'quantile'];

/**
 * Syntax of label names (https://prometheus.io/docs/concepts/data_model/). Prometheus reserves names that start with
 * two underscores.
 */
const LABEL_NAME = /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/;
/** Syntax of the keys of Pod labels (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/). */
const LABEL_KEY = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?$/;

/**
 * Returns the schema of `labels`, which maps the name of a Prometheus label to the key of a Pod's label, or to a
 * derived value such as `@workload`.
 */
export function podLabelsSchema(probes: readonly AnyProbe[]): z.ZodType<PodLabels> {
  const ofMetrics = probes.flatMap(({ metrics }) =>
    Object.values(metrics as MetricSet).flatMap(({ labels }) => Object.keys(labels)),
  );
  const taken = new Set([...RESERVED, ...ofMetrics]);
  return namesTo(z.string(), z.string()).superRefine((labels, context) => {
    const fault = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    const entries = Object.entries(labels);
    if (entries.length > LABELS_MAX) fault([], `at most ${LABELS_MAX} labels`);
    for (const [name, source] of entries) {
      const nameFault = faultOfName(name, taken);
      if (nameFault !== undefined) fault([name], nameFault);
      else if (!DERIVED_NAMES.includes(source) && !LABEL_KEY.test(source)) {
        fault([name], `the key of a Pod's label, like app.kubernetes.io/name, or one of ${DERIVED_NAMES.join(', ')}`);
      }
    }
  });
}

function faultOfName(name: string, taken: ReadonlySet<string>): string | undefined {
  if (!LABEL_NAME.test(name) || name.length > LABEL_NAME_LENGTH_MAX) {
    return 'another name: letters, digits and _, not starting with a digit or two _, at most 63 characters';
  }
  return taken.has(name) ? `another name: the label ${name} exists already` : undefined;
}
