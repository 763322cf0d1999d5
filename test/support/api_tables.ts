import type { ApiObject } from './api_server.ts';

/** The tables of the API server, as `kubectl get -o wide` requests them (pkg/printers/internalversion/printers.go). */

const NONE = '<none>';

interface Column {
  readonly name: string;
  readonly cell: (object: ApiObject) => unknown;
}

const ip = (object: ApiObject, type: string): string => {
  const { addresses = [] } = (object['status'] ?? {}) as {
    addresses?: readonly { readonly type: string; readonly address: string }[];
  };
  return addresses.find((address) => address.type === type)?.address ?? NONE;
};

const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  pods: [
    { name: 'Name', cell: ({ metadata }) => metadata.name },
    { name: 'Ready', cell: () => '1/1' },
    { name: 'Status', cell: (pod) => (pod['status'] as { phase?: string } | undefined)?.phase ?? 'Unknown' },
    { name: 'Restarts', cell: () => '0' },
    { name: 'Age', cell: () => '7d1h' },
    { name: 'IP', cell: (pod) => (pod['status'] as { podIP?: string } | undefined)?.podIP ?? NONE },
    { name: 'Node', cell: (pod) => (pod['spec'] as { nodeName?: string } | undefined)?.nodeName ?? NONE },
    { name: 'Nominated Node', cell: () => NONE },
    { name: 'Readiness Gates', cell: () => NONE },
  ],
  nodes: [
    { name: 'Name', cell: ({ metadata }) => metadata.name },
    { name: 'Status', cell: () => 'Ready' },
    { name: 'Roles', cell: () => NONE },
    { name: 'Age', cell: () => '47d' },
    { name: 'Version', cell: () => 'v1.35.1' },
    { name: 'Internal-IP', cell: (node) => ip(node, 'InternalIP') },
    { name: 'External-IP', cell: (node) => ip(node, 'ExternalIP') },
    { name: 'OS-Image', cell: () => 'Debian GNU/Linux 13 (trixie)' },
    { name: 'Kernel-Version', cell: () => '6.12.41+deb13-amd64' },
    { name: 'Container-Runtime', cell: () => 'containerd://2.1.4' },
  ],
};

/** Returns whether a request accepts a table. */
export function asksTable(accept: string | undefined): boolean {
  return accept?.includes('as=Table') === true;
}

/** Returns objects as a table. @param include value of the parameter `includeObject` */
export function tableOf(
  resource: string,
  metadata: Readonly<Record<string, unknown>>,
  objects: readonly ApiObject[],
  include: string | null,
): object {
  const columns = COLUMNS[resource] ?? [{ name: 'Name', cell: ({ metadata: { name } }: ApiObject) => name }];
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: columns.map(({ name }, index) => ({
      name,
      type: 'string',
      format: name === 'Name' ? 'name' : '',
      description: `Column ${name} of the resource, as it is described in the documentation of the API.`,
      priority: index < 5 ? 0 : 1,
    })),
    rows: objects.map((object) => ({
      cells: columns.map(({ cell }) => cell(object)),
      ...(include === 'None'
        ? {}
        : { object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata } }),
    })),
  };
}

/** Returns the object of a watch event as a table. Only the first event of a stream defines the columns. */
export function tableEvent(resource: string, object: ApiObject, include: string | null, isFirst: boolean): object {
  const { resourceVersion } = object.metadata;
  const table = tableOf(resource, { resourceVersion }, [object], include);
  return isFirst ? table : { ...table, columnDefinitions: null };
}
