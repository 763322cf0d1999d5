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

/** The catalogue of traffic in which nothing is lost. */
export function orderlyPage(): string {
  return [
    '# Orderly traffic',
    '',
    'The kernel frees many packets unused where nothing is lost: a connection that ends, a ping, a frame for someone else. This is the',
    'traffic that the tests play, over IPv4 and IPv6, to hold netsonde to it: no drop (`netsonde_packet_drops_total`), and no warning.',
    'Each has a twin, in which one packet is lost: exactly one drop, with its event. For both, drops and discards',
    '([what is what](drop-reasons.md#what-counts-as-lost)) together are what an independent program counts.',
    '',
    'Where a reason tells the two apart, a kernel that does not have it counts neither as a drop: 5.10 has none, 6.1 only some.',
    '',
    ...CATALOGUE.flatMap(({ title, patterns }) => [
      `## ${title}`,
      '',
      table(['nothing is lost', 'family', 'shown on', 'its twin', 'told apart by'], patterns.map(row)),
      '',
    ]),
    '## What is not shown',
    '',
    table(
      ['traffic', 'why'],
      NOT_SHOWN.map(({ title, why }) => [title, why]),
    ),
    '',
  ].join('\n');
}
