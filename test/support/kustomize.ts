import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import * as z from 'zod';

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [key: string]: unknown;
}

/**
 * The fields of https://kubectl.docs.kubernetes.io/references/kustomize/ that our manifests use. All other fields are
 * rejected.
 */
const KUSTOMIZATION = z.strictObject({
  apiVersion: z.enum(['kustomize.config.k8s.io/v1beta1', 'kustomize.config.k8s.io/v1alpha1']),
  kind: z.enum(['Kustomization', 'Component']),
  resources: z.array(z.string()).default([]),
  components: z.array(z.string()).default([]),
  images: z
    .array(z.strictObject({ name: z.string(), newName: z.string().optional(), newTag: z.string().optional() }))
    .default([]),
  patches: z
    .array(z.strictObject({ target: z.strictObject({ kind: z.string(), name: z.string() }), patch: z.string() }))
    .default([]),
});

/** The only form of strategic merge patch that our manifests use. */
const DELETION = z.strictObject({
  $patch: z.literal('delete'),
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.strictObject({ name: z.string() }),
});

/** JSON patch (RFC 6902). */
const OPERATIONS = z.array(
  z.strictObject({ op: z.enum(['add', 'replace', 'remove', 'test']), path: z.string(), value: z.unknown().optional() }),
);

type Node = Record<string, unknown> | unknown[];

function applyOperation(object: unknown, { op, path, value }: z.infer<typeof OPERATIONS>[number]): void {
  const keys = path
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = keys.pop() ?? '';
  let node = object as Node;
  for (const key of keys) {
    node = (node as Record<string, Node>)[key] as Node;
    if (node === undefined) throw new Error(`${path}: there is no ${key}`);
  }
  const isThere = Object.hasOwn(node, last);
  if (op !== 'add' && !isThere) throw new Error(`${path}: there is no ${last}`);
  if (op === 'test') {
    if (JSON.stringify((node as Record<string, unknown>)[last]) !== JSON.stringify(value))
      throw new Error(`${path}: is not ${JSON.stringify(value)}`);
  } else if (Array.isArray(node)) {
    if (op === 'add') node.splice(last === '-' ? node.length : Number(last), 0, value);
    else if (op === 'replace') node[Number(last)] = value;
    else node.splice(Number(last), 1);
  } else if (op === 'remove') delete node[last];
  else node[last] = value;
}

function setImages(objects: readonly KubernetesObject[], images: z.infer<typeof KUSTOMIZATION>['images']): void {
  for (const { kind, spec } of objects) {
    if (kind !== 'DaemonSet') continue;
    const { containers } = (spec as { template: { spec: { containers: { image: string }[] } } }).template.spec;
    for (const container of containers) {
      const found = images.find(({ name }) => name === container.image);
      if (found !== undefined) container.image = `${found.newName ?? found.name}:${found.newTag}`;
    }
  }
}

function readObjects(path: string): KubernetesObject[] {
  return parseAllDocuments(readFileSync(path, 'utf8')).map((document) => {
    if (document.errors[0] !== undefined) throw new Error(`${path}: ${document.errors[0].message}`);
    return document.toJS() as KubernetesObject;
  });
}

function applyFolder(folder: string, objects: KubernetesObject[]): void {
  const { resources, components, images, patches } = KUSTOMIZATION.parse(
    parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')),
  );
  for (const resource of resources) {
    if (resource.endsWith('.yaml')) objects.push(...readObjects(join(folder, resource)));
    else objects.push(...kustomize(join(folder, resource)));
  }
  for (const component of components) applyFolder(join(folder, component), objects);
  for (const { target, patch } of patches) {
    const found = objects.filter(({ kind, metadata }) => kind === target.kind && metadata.name === target.name);
    if (found.length !== 1) throw new Error(`${folder}: ${found.length} objects are ${target.kind} ${target.name}`);
    const given: unknown = parse(patch);
    if (Array.isArray(given)) for (const operation of OPERATIONS.parse(given)) applyOperation(found[0], operation);
    else {
      DELETION.parse(given);
      objects.splice(objects.indexOf(found[0] as KubernetesObject), 1);
    }
  }
  setImages(objects, images);
}

/** Returns the output of `kubectl kustomize` for a directory with these components. */
export function kustomize(folder: string, components: readonly string[] = []): KubernetesObject[] {
  const objects: KubernetesObject[] = [];
  applyFolder(folder, objects);
  for (const component of components) applyFolder(component, objects);
  return objects;
}
