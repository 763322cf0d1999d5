import { lookup } from 'node:dns/promises';
import { cartClient } from './cart_service.ts';
import { hasFault } from './runtime.ts';
import { call, serve } from './web.ts';

/** A host name for which there is no Service. */
const MISSING = 'recommendations';

/** Serves the pages of the shop, with content from the catalog, the search and the cart. */
export async function start(): Promise<void> {
  const cart = cartClient('cart:50051');
  await serve(8_080, async ({ pathname, searchParams }) => {
    if (hasFault('missing-name')) await lookup(MISSING).catch(() => undefined);
    const customer = searchParams.get('customer') ?? '';
    switch (pathname) {
      case '/search':
        return page(await call(`http://search/?q=${searchParams.get('q')}`));
      case '/cart':
        return page(JSON.stringify(await cart('Add', { customer, product: searchParams.get('product') ?? '' })));
      default:
        return page(await call('http://catalog/products'));
    }
  });
}

function page(body: string): string {
  return `<html><body>${body}</body></html>`;
}
