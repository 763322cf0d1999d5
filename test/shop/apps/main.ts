import { obey, say } from './runtime.ts';

/** Runs one program of the shop: `node main.ts NAME`. */

const PROGRAMS: Readonly<Record<string, () => Promise<{ start(): Promise<void> }>>> = {
  browser: () => import('./browser.ts'),
  cart: () => import('./cart.ts'),
  catalog: () => import('./catalog.ts'),
  checkout: () => import('./checkout.ts'),
  mailer: () => import('./mailer.ts'),
  orders: () => import('./orders.ts'),
  reports: () => import('./reports.ts'),
  search: () => import('./search.ts'),
  storefront: () => import('./storefront.ts'),
};

const [name = ''] = process.argv.slice(2);
const load = PROGRAMS[name];
if (load === undefined) throw new Error(`there is no program ${name}`);
obey();
const program = await load();
await program.start();
say({ ready: true });
