import { type handleUnaryCall, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { CART, type CartReply, type CartRequest } from './cart_service.ts';
import { Redis } from './redis.ts';
import { countRequest, hasFault } from './runtime.ts';

const PRODUCTS_MAX = 20;

type Method = (request: CartRequest) => Promise<CartReply>;

/** Serves the carts of all customers over gRPC, and stores them in Redis. */
export async function start(): Promise<void> {
  const redis = new Redis('redis.data');
  const list = async ({ customer }: CartRequest) => {
    const products = await redis.send(['LRANGE', `cart:${customer}`, '0', `${PRODUCTS_MAX - 1}`]);
    return { products: Array.isArray(products) ? products.map(String) : [] };
  };
  const add = async (request: CartRequest) => {
    if (hasFault('failing-method')) throw new Error('the cart is full');
    await redis.send(['LPUSH', `cart:${request.customer}`, request.product ?? '']);
    await redis.send(['LTRIM', `cart:${request.customer}`, '0', `${PRODUCTS_MAX - 1}`]);
    return list(request);
  };
  const server = new Server();
  server.addService(CART, { Add: unary(add), List: unary(list) });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync('0.0.0.0:50051', ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function unary(method: Method): handleUnaryCall<CartRequest, CartReply> {
  return ({ request }, done) => {
    method(request).then(
      (reply) => {
        countRequest('served');
        done(null, reply);
      },
      (error: Error) => {
        countRequest('failed');
        done({ code: status.INTERNAL, details: error.message });
      },
    );
  };
}
