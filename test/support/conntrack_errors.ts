import type { Exposition } from './exposition.ts';

/** `netlink conntrack table 2`: parts of connection tracking that could not be read, in all namespaces. */
export function errorsOf(page: Exposition): string[] {
  return page.samples
    .filter(({ name, labels }) => name === 'netsonde_source_errors_total' && labels['path']?.startsWith('conntrack'))
    .map(({ labels, value }) => `${labels['source']} ${labels['path']} ${value}`);
}
