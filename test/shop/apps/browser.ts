import { countRequest } from './runtime.ts';
import { call } from './web.ts';

const CUSTOMERS = 10;
const PRODUCTS = 200;

interface Visit {
  /** Requests per second. */
  readonly rate: number;
  readonly method: string;
  readonly path: (customer: number, product: number) => string;
}

const VISITS: readonly Visit[] = [
  { rate: 2, method: 'GET', path: () => '/' },
  { rate: 0.5, method: 'GET', path: (_, product) => `/search?q=${product}` },
  { rate: 0.5, method: 'GET', path: (customer, product) => `/cart?customer=${customer}&product=${product}` },
  { rate: 0.5, method: 'POST', path: (customer) => `/pay?customer=${customer}` },
];

/**
 * Sends requests to the shop at `SHOP_URL` from outside of the cluster. The rates are those in `VISITS`, multiplied by
 * `SHOP_RATE`.
 */
export async function start(): Promise<void> {
  const url = process.env['SHOP_URL'] ?? '';
  const factor = Number(process.env['SHOP_RATE'] ?? '1');
  for (const [index, { rate, method, path }] of VISITS.entries()) {
    let visits = index;
    const visit = () => {
      const number = visits++;
      call(`${url}${path(number % CUSTOMERS, number % PRODUCTS)}`, method).then(
        () => countRequest('served'),
        () => countRequest('failed'),
      );
    };
    setInterval(visit, 1_000 / (rate * factor));
  }
}
