/** Returns the first of the names under which an address was resolved, and the number of others: `a.example (+2)`. */
export function namesText(names: readonly string[]): string {
  const [first = '', ...others] = names;
  return others.length === 0 ? first : `${first} (+${others.length})`;
}
