import type { ConfigReport } from '#api/config.ts';

type Mapping = ConfigReport['document'];

const LINE_MAX = 100;

/** Formats a document as readable YAML. Values that fit on one line are not split. */
export function documentText(document: Mapping, indent = ''): string {
  return Object.entries(document)
    .map(([key, value]) => {
      const line = `${indent}${plain(key)}: ${plain(value)}\n`;
      const isLong = isMapping(value) && (line.length > LINE_MAX || Object.values(value).some(isMapping));
      return isLong && Object.keys(value).length > 0
        ? `${indent}${plain(key)}:\n${documentText(value, `${indent}  `)}`
        : line;
    })
    .join('');
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Quotes strings that YAML would parse as another type, and strings that contain special characters. */
function plain(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(plain).join(', ')}]`;
  if (isMapping(value)) {
    const entries = Object.entries(value).map(([key, inner]) => `${plain(key)}: ${plain(inner)}`);
    return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`;
  }
  if (typeof value !== 'string') return JSON.stringify(value) ?? 'null';
  const isWord = /^[A-Za-z_/@][\w/.@-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value);
  return isWord || /^\d+(us|ms|s|m|h|B|KiB|MiB|GiB|%)$/.test(value) ? value : JSON.stringify(value);
}
