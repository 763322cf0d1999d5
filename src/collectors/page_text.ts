import type { ScraperView } from './births.ts';
import type { EntityTable } from './entities.ts';
import type { Format } from './exposition.ts';
import type { Family } from './family.ts';
import { FamilyText } from './family_text.ts';
import { Scratch } from './line_text.ts';

/** Number of consecutive pages in other formats after which the stored page of a format is dropped. */
const UNUSED_PAGES = 16;

interface Kept {
  readonly texts: Map<Family, FamilyText>;
  /** Number of the last page in this format. */
  page: number;
}

/** The last page in each format, by family. It is updated for the next page. */
export class PageText {
  readonly #entities: EntityTable;
  readonly #scratch = new Scratch();
  readonly #kept = new Map<Format, Kept>();
  #page = 0;

  constructor(entities: EntityTable) {
    this.#entities = entities;
  }

  /** Must be called once per page, before `write`. */
  begin(format: Format): void {
    this.#page++;
    const kept = this.#kept.get(format);
    if (kept === undefined) this.#kept.set(format, { texts: new Map(), page: this.#page });
    else kept.page = this.#page;
    for (const [other, { page }] of this.#kept) if (this.#page - page > UNUSED_PAGES) this.#kept.delete(other);
  }

  /**
   * Returns the text of a family.
   * @returns bytes that are valid until the next call
   */
  write(family: Family, format: Format, view?: ScraperView): Uint8Array {
    const texts = this.#kept.get(format)?.texts;
    let text = texts?.get(family);
    if (text === undefined) {
      text = new FamilyText(family.descriptor, format, this.#scratch);
      texts?.set(family, text);
    }
    return text.write(family, this.#entities, view);
  }
}
