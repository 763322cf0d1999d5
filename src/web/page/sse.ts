export interface Message {
  readonly id: string;
  readonly data: string;
}

/**
 * Parses server-sent events that arrive in chunks (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 * The agent's events have an id and one line of data.
 */
export class MessageReader {
  #rest = '';
  #id = '';
  #data = '';

  /** Returns the messages that are completed by this chunk. */
  take(piece: string): Message[] {
    const lines = (this.#rest + piece).split('\n');
    this.#rest = lines.pop() ?? '';
    const messages: Message[] = [];
    for (const line of lines) {
      if (line === '') {
        if (this.#data !== '') messages.push({ id: this.#id, data: this.#data });
        this.#data = '';
      } else if (line.startsWith('id: ')) this.#id = line.slice('id: '.length);
      else if (line.startsWith('data: ')) this.#data = line.slice('data: '.length);
    }
    return messages;
  }
}
