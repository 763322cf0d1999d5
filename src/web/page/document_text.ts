/** A document as YAML that is easy to read: a value a line, lists of plain values in one. */
export function documentText(value: unknown, indent = ''): string {
  if (!isMapping(value)) return `${indent}${plain(value)}\n`;
  return Object.entries(value)
    .map(([key, inner]) =>
      isMapping(inner) && Object.keys(inner).length > 0
        ? `${indent}${plain(key)}:\n${documentText(inner, `${indent}  `)}`
        : `${indent}${plain(key)}: ${plain(inner)}\n`,
    )
    .join('');
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Words that YAML would take for something else are quoted, as is what has a sign in it. */
function plain(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(plain).join(', ')}]`;
  if (typeof value !== 'string') return JSON.stringify(value) ?? 'null';
  const isWord = /^[A-Za-z_/@][\w/.@-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value);
  return isWord || /^\d+(us|ms|s|m|h|B|KiB|MiB|GiB|%)$/.test(value) ? value : JSON.stringify(value);
}
