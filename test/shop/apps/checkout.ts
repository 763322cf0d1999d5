import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { cartClient } from './cart_service.ts';
import { Redis } from './redis.ts';
import { call, serve } from './web.ts';

const TIMEOUT_MS = 3_000;
const PAYMENTS = 'payments.example';

/** Serves the checkout: places and pays an order for the products in the cart, and queues a mail. */
export async function start(): Promise<void> {
  const cart = cartClient('cart:50051');
  const redis = new Redis('redis.data');
  const ca = readFileSync(process.env['SHOP_CA'] ?? '', 'utf8');
  await serve(8_080, async ({ searchParams }) => {
    const customer = searchParams.get('customer') ?? '';
    const { products } = await cart('List', { customer });
    const order = await call('http://orders/', 'POST', JSON.stringify({ customer, products }));
    await pay(ca);
    await redis.send(['LPUSH', 'mails', order]);
    return order;
  });
}

/** Sends one request over TLS. @throws if the payment is not accepted in time */
function pay(ca: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: PAYMENTS, port: 443 });
    const secure = connectTls({ socket, servername: PAYMENTS, ca });
    const timer = setTimeout(() => socket.destroy(new Error(`${PAYMENTS} does not answer`)), TIMEOUT_MS);
    let answer = '';
    secure.write(`GET /pay HTTP/1.1\r\nHost: ${PAYMENTS}\r\nConnection: close\r\n\r\n`);
    secure.on('data', (data) => {
      answer += String(data);
    });
    for (const each of [socket, secure]) each.once('error', reject);
    secure.once('close', () => {
      clearTimeout(timer);
      if (answer.startsWith('HTTP/1.1 200 ')) resolve();
      else reject(new Error(`${PAYMENTS}: ${answer.split('\r\n', 1)[0]}`));
    });
  });
}
