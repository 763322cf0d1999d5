import type { Aggregator } from '#collectors/aggregate.ts';
import type { ScraperView } from '#collectors/births.ts';
import { type Format, OPENMETRICS_END } from '#collectors/exposition.ts';
import { type Deflated, deflate } from '#collectors/gzip.ts';
import { ChunkPool, TextWriter } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';

/** Renders the last collection as the last part of a page. */
export class PageWriter {
  readonly #aggregator: Aggregator;
  readonly #chunks = new ChunkPool();

  constructor(aggregator: Aggregator) {
    this.#aggregator = aggregator;
  }

  /** Returns the text in chunks that can be transferred to another thread. */
  async text(format: Format, view?: ScraperView): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    return (await this.#write(new TextWriter(), format, view)).finish();
  }

  /** Returns the compressed text. The uncompressed chunks stay in this thread and are reused for the next page. */
  async compressed(format: Format, view?: ScraperView): Promise<Deflated> {
    const writer = await this.#write(new TextWriter(this.#chunks), format, view);
    const deflated = await deflate(writer.finish(), freeCycle());
    writer.release();
    return deflated;
  }

  async #write(writer: TextWriter, format: Format, view: ScraperView | undefined): Promise<TextWriter> {
    await this.#aggregator.render(writer, format, freeCycle(), view);
    if (format === 'openmetrics') writer.bytes(OPENMETRICS_END);
    return writer;
  }
}
