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
/** Names of namespaces are DNS labels, names of ConfigMaps are DNS subdomains, and keys are file names. */
const FORM = /^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\/([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?:\/([\w.-]{1,253}))?$/;

/** Parses `NAMESPACE/NAME` or `NAMESPACE/NAME/KEY`. @throws for anything else */
export function parseConfigMapRef(text: string): ConfigMapRef {
  const [, namespace, name, key = KEY] = FORM.exec(text) ?? [];
  if (namespace === undefined || name === undefined) {
    throw new Error(`--configmap ${text}: is not NAMESPACE/NAME or NAMESPACE/NAME/KEY`);
  }
  return { namespace, name, key };
}

export function formatConfigMapRef({ namespace, name, key }: ConfigMapRef): string {
  return `${namespace}/${name}/${key}`;
}

/** Identifies the object, and its version, that a content comes from. */
export interface ConfigMapVersion {
  readonly uid: string;
  readonly resourceVersion: string;
}

/** @param version undefined where there is no ConfigMap */
export type ConfigMapChanged = (content: FileContent, version: ConfigMapVersion | undefined) => void;

/** Watches a document in a ConfigMap through the Kubernetes API: changes arrive at once, whereas the kubelet takes a minute. */
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

  /** Resolves once it was read for the first time. */
  get firstRead(): Promise<void> {
    return this.#firstRead;
  }

  get tally(): ResourceTally {
    return this.#reflector.tally;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#reflector[Symbol.asyncDispose]();
  }

  /** Returns why there is nothing to read, and what helps; undefined where it was read. */
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

  /** Changes of other keys, and of labels, are ignored. */
  #tell(content: FileContent, version: ConfigMapVersion | undefined): void {
    const key = JSON.stringify(content);
    if (key === this.#last) return;
    this.#last = key;
    this.#changed(content, version);
  }
}
