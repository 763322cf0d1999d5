import { checkFields, firstDoubt, isFields, listOf } from './fields.ts';
import { EVERYTHING, type LabelSelector, OPERATORS, type Requirement } from './labels.ts';

/** Parses a label selector. If it is missing, everything is selected, as with an empty one. */
export function parseSelector(value: unknown, path: string): LabelSelector {
  if (value === undefined || value === null) return EVERYTHING;
  const { fields, doubt } = checkFields(value, ['matchLabels', 'matchExpressions'], path);
  const labels = fields['matchLabels'] ?? {};
  const expressions = listOf(fields['matchExpressions'], `${path}.matchExpressions`);
  const requirements: Requirement[] = [];
  let fault = firstDoubt(
    doubt,
    expressions.doubt,
    isFields(labels) ? undefined : `${path}.matchLabels, which is malformed`,
  );
  for (const [key, label] of Object.entries(isFields(labels) ? labels : {})) {
    if (typeof label === 'string') requirements.push({ key, operator: 'In', values: [label] });
    else fault ??= `${path}.matchLabels, which is malformed`;
  }
  for (const [index, expression] of (expressions.items ?? []).entries()) {
    const requirement = parseRequirement(expression, `${path}.matchExpressions[${index}]`);
    if (typeof requirement === 'string') fault ??= requirement;
    else requirements.push(requirement);
  }
  return { requirements, doubt: fault };
}

/** Parses a requirement. If the API would not accept it, returns the text of a doubt. */
function parseRequirement(value: unknown, path: string): Requirement | string {
  const { fields, doubt } = checkFields(value, ['key', 'operator', 'values'], path);
  if (doubt !== undefined) return doubt;
  const { items = [], doubt: fault } = listOf(fields['values'], `${path}.values`);
  const { key } = fields;
  const operator = OPERATORS.find((name) => name === fields['operator']);
  const values = items.filter((item) => typeof item === 'string');
  if (operator === undefined) return `operator of ${path}`;
  const hasValues = operator === 'In' || operator === 'NotIn';
  const isGood = typeof key === 'string' && values.length === items.length && hasValues === values.length > 0;
  if (fault !== undefined || !isGood) return `${path}, which is malformed`;
  return { key, operator, values };
}
