const SEGMENTS_MAX = 8;
const SEGMENT_LENGTH_MAX = 24;
const VARIABLE = '*';
const MORE = '…';

const NUMBER = /^[\d.,:-]*\d[\d.,:-]*$/;
/** UUIDs, hashes and other hexadecimal identifiers. They contain a digit, so that a word such as `facade` is kept. */
const HEXADECIMAL = /^(?=.*\d)[\da-f-]{8,}$/i;
/** Scheme and authority of a request to a proxy. */
const AUTHORITY = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i;

function isVariable(segment: string): boolean {
  return segment.length > SEGMENT_LENGTH_MAX || NUMBER.test(segment) || HEXADECIMAL.test(segment);
}

/**
 * Returns the path of a request target without the query, in which segments that look like identifiers are replaced by
 * `*`.
 * @param isCut whether the end of the target is missing
 */
export function pathTemplate(target: string, isCut: boolean): string {
  const [path = '', ...rest] = target.replace(AUTHORITY, '').split(/[?#]/);
  const segments = path.split('/');
  const isPathCut = isCut && rest.length === 0;
  const shown = segments.map((segment, index) =>
    (isPathCut && index === segments.length - 1) || isVariable(segment) ? VARIABLE : segment,
  );
  // The first segment is the empty text before the first slash.
  if (shown.length > SEGMENTS_MAX + 1) return [...shown.slice(0, SEGMENTS_MAX + 1), MORE].join('/');
  return shown.join('/') || '/';
}
