import { call, serve } from './web.ts';

/** The backlog is short, so the accept queue fills up soon after the program stops accepting connections. */
const BACKLOG = 2;

/** Searches the products of the catalog. */
export async function start(): Promise<void> {
  const find = async ({ searchParams }: URL) => {
    const products = JSON.parse(await call('http://catalog/products')) as { name: string }[];
    const wanted = searchParams.get('q') ?? '';
    return JSON.stringify(products.map(({ name }) => name).filter((name) => name.includes(wanted)));
  };
  await serve(8_080, find, BACKLOG);
}
