import type { Exposition } from './exposition.ts';

/**
 * Returns the source errors of connection tracking, summed over all namespaces, such as `netlink conntrack table 2`.
 */
export function errorsOf(page: Exposition): string[] {
  return page.samples
    .filter(({ name, labels }) => name === 'netsonde_source_errors_total' && labels['path']?.startsWith('conntrack'))
    .map(({ labels, value }) => `${labels['source']} ${labels['path']} ${value}`);
}
