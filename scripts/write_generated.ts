import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Writes a file only if its content differs, so that make does not rebuild the files that depend on it. */
export function writeGenerated(file: URL, text: string): void {
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}

/**
 * Replaces the sections between `<!-- generated: NAME -->` and `<!-- end -->` in a file that is otherwise written by
 * hand.
 * @throws if a section is missing from the file
 */
export function writeSections(file: URL, sections: Readonly<Record<string, string>>): void {
  const text = Object.entries(sections).reduce(
    (rest, [name, section]) => {
      const place = new RegExp(`(<!-- generated: ${name} -->\n)[\\s\\S]*?(<!-- end -->)`);
      if (!place.test(rest)) throw new Error(`${file.pathname} has no place for ${name}`);
      return rest.replace(place, (_, begin: string, end: string) => `${begin}\n${section}\n\n${end}`);
    },
    readFileSync(file, 'utf8'),
  );
  writeGenerated(file, text);
}
