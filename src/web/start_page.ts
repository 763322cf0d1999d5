const LINKS: readonly (readonly [path: string, text: string])[] = [
  ['/metrics', 'Metrics for Prometheus'],
  ['/api/v1/probes', 'Probes: state, reason, last collection, BPF programs'],
  ['/api/v1/entities', 'Entities: whom metrics and events belong to'],
  ['/api/v1/events', 'Events as they happen (server-sent events; JSON lines with Accept: application/x-ndjson)'],
  ['/api/v1/events?follow=false&since=1h', 'Events of the last hour'],
  ['/api/v1/sinks', 'Sinks: state, reason, what waits for them'],
  ['/api/v1/config', 'Configuration: generation, and the faults of the last one that was rejected'],
  ['/healthz', 'Alive'],
  ['/readyz', 'Ready'],
];

/** The page at `/`: what there is to see. */
export function renderStartPage(version: string): string {
  const items = LINKS.map(([path, text]) => `<li><a href="${path}">${path}</a><br>${text}</li>`).join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>netsonde</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }
li { margin-bottom: .75rem; }
</style>
</head>
<body>
<h1>netsonde ${version}</h1>
<p>What the network does to every Pod of this node.</p>
<ul>
${items}
</ul>
</body>
</html>
`;
}
