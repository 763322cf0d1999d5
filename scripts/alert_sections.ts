import { declaredAlerts } from '../dashboards/netsonde/probe_alerts.ts';

/** Renders the sections of docs/runbook.md for the alerts that probes declare. */
export function alertSections(): string {
  return declaredAlerts()
    .map(({ probe, alert: { name, severity, runbook } }) => {
      const needs = probe.enabledByDefault ? '' : ` The alert needs the probe \`${probe.name}\`.`;
      return `### ${name}\n\nThe severity is \`${severity}\`.${needs} ${runbook}`;
    })
    .join('\n\n');
}
