import { CATALOGUE, NOT_SHOWN, type Pattern } from '../test/support/orderly/catalogue.ts';
import { table } from './markdown.ts';

function row({ title, twin, families, needs }: Pattern): string[] {
  return [
    title,
    families === undefined ? 'both' : 'IPv4',
    needs === undefined ? 'host, guest' : `guest, with ${needs}`,
    twin.words,
    twin.reason === undefined ? '' : `\`${twin.reason}\``,
  ];
}

/** Renders docs/orderly-traffic.md, the catalogue of traffic in which nothing is lost. */
export function orderlyPage(): string {
  return [
    '# Orderly traffic',
    '',
    'The kernel frees many packets unused although nothing is lost: at the end of a connection, after a ping, or because a frame is for another host. The',
    'tests play this traffic, over IPv4 and IPv6, and require that netsonde reports no drop (`netsonde_packet_drops_total`) and no warning.',
    'Each row has a twin, in which one packet is lost: exactly one drop, with its event. For both, the sum of drops and discards',
    '([definition](drop-reasons.md#what-counts-as-lost)) must equal the count of an independent program.',
    '',
    'If only a reason distinguishes the two, a kernel without that reason counts neither as a drop: 5.10 has no reasons, 6.1 only some.',
    '',
    ...CATALOGUE.flatMap(({ title, patterns }) => [
      `## ${title}`,
      '',
      table(['nothing is lost', 'family', 'tested on', 'its twin', 'distinguished by'], patterns.map(row)),
      '',
    ]),
    '## Traffic that is not tested',
    '',
    table(
      ['traffic', 'why'],
      NOT_SHOWN.map(({ title, why }) => [title, why]),
    ),
    '',
  ].join('\n');
}
