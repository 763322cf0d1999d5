import type { ApiSession } from '#kubernetes/api.ts';
import { type ConfigMap, configMap } from '#kubernetes/objects.ts';
import { Reflector, type ReflectorLog } from '#kubernetes/reflector.ts';
import type { ResourceTally } from '#kubernetes/tally.ts';
import type { FileContent } from './watch.ts';

export interface ConfigMapRef {
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
}

const KEY = 'netsonde.yaml';
/**
 * Form of a reference. The namespace is a DNS label, the name of the ConfigMap is a DNS subdomain, and the key is a
 * file name.
 */
const FORM = /^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\/([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?:\/([\w.-]{1,253}))?$/;

/**
 * Parses `NAMESPACE/NAME` or `NAMESPACE/NAME/KEY`.
 * @throws if the text has neither form
 */
export function parseConfigMapRef(text: string): ConfigMapRef {
  const [, namespace, name, key = KEY] = FORM.exec(text) ?? [];
  if (namespace === undefined || name === undefined) {
    throw new Error(`--configmap ${text}: must be NAMESPACE/NAME or NAMESPACE/NAME/KEY`);
  }
  return { namespace, name, key };
}

export function formatConfigMapRef({ namespace, name, key }: ConfigMapRef): string {
  return `${namespace}/${name}/${key}`;
}

/** Version of the ConfigMap that a document comes from. */
export interface ConfigMapVersion {
  readonly uid: string;
  readonly resourceVersion: string;
}

/**
 * Called when the content of the document has changed.
 * @param version undefined if the ConfigMap does not exist
 */
export type ConfigMapChanged = (content: FileContent, version: ConfigMapVersion | undefined) => void;

/**
 * Watches a document in a ConfigMap through the Kubernetes API. Changes arrive faster than in a mounted ConfigMap,
 * which the kubelet updates about once a minute.
 */
export class ConfigMapWatcher implements AsyncDisposable {
  readonly #ref: ConfigMapRef;
  readonly #changed: ConfigMapChanged;
  readonly #reflector: Reflector<ConfigMap>;
  #last = '';
  #exists = false;
  #first: () => void = () => undefined;
  readonly #firstRead = new Promise<void>((resolve) => {
    this.#first = resolve;
  });

  constructor(session: ApiSession, ref: ConfigMapRef, log: ReflectorLog, changed: ConfigMapChanged) {
    this.#ref = ref;
    this.#changed = changed;
    this.#reflector = new Reflector(
      session,
      configMap(ref.namespace, ref.name, ref.key),
      {
        set: (_, object) => {
          this.#exists = true;
          this.#tell(this.#contentOf(object), object);
        },
        delete: () => {
          this.#exists = false;
          this.#tellMissing();
        },
        listed: () => {
          if (!this.#exists) this.#tellMissing();
          this.#first();
        },
      },
      log,
    );
  }

  /** Resolves once the ConfigMap has been read for the first time, or is known to be missing. */
  get firstRead(): Promise<void> {
    return this.#firstRead;
  }

  get tally(): ResourceTally {
    return this.#reflector.tally;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#reflector[Symbol.asyncDispose]();
  }

  /** Returns why the ConfigMap cannot be read, and what to do about it; undefined if it can. */
  get trouble(): string | undefined {
    const { trouble } = this.#reflector.tally;
    return trouble && `configmaps: ${trouble}`;
  }

  #contentOf({ text, isBinary, keys }: ConfigMap): FileContent {
    if (text !== undefined) return { text };
    const { namespace, name, key } = this.#ref;
    if (isBinary) {
      return { error: `the ConfigMap ${namespace}/${name} has no text under ${key}: its binaryData is not UTF-8` };
    }
    return { error: `the ConfigMap ${namespace}/${name} has no key ${key}; it has: ${keys.join(', ') || 'none'}` };
  }

  #tellMissing(): void {
    this.#tell({ error: `there is no ConfigMap ${this.#ref.namespace}/${this.#ref.name}` }, undefined);
  }

  /** Reports new content. Ignores updates that change only other keys or the metadata. */
  #tell(content: FileContent, version: ConfigMapVersion | undefined): void {
    const key = JSON.stringify(content);
    if (key === this.#last) return;
    this.#last = key;
    this.#changed(content, version);
  }
}
