import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Leaves a file alone that is as it should be: what is built from it stays newer. */
export function writeGenerated(file: URL, text: string): void {
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}

/**
 * Writes what is between `<!-- generated: NAME -->` and `<!-- end -->` of a file that is written by hand else.
 * @throws where there is no such place
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
