import { credentials, makeGenericClientConstructor, type ServiceDefinition } from '@grpc/grpc-js';

/**
 * Messages of the cart service. They use gRPC, but are encoded as JSON so that no compiled protocol file is needed.
 */
export interface CartRequest {
  readonly customer: string;
  readonly product?: string;
}

export interface CartReply {
  readonly products: readonly string[];
}

const TIMEOUT_MS = 3_000;

function method(name: string) {
  return {
    path: `/shop.Cart/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: CartRequest) => Buffer.from(JSON.stringify(value)),
    requestDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as CartRequest,
    responseSerialize: (value: CartReply) => Buffer.from(JSON.stringify(value)),
    responseDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as CartReply,
  };
}

export const CART: ServiceDefinition = { Add: method('Add'), List: method('List') };

type Call = (request: CartRequest, options: object, done: (error: Error | null, reply?: CartReply) => void) => void;

export type CallCart = (name: 'Add' | 'List', request: CartRequest) => Promise<CartReply>;

/** Returns a client with one connection, which grpc-js keeps open. @param address `HOST:PORT` */
export function cartClient(address: string): CallCart {
  const Client = makeGenericClientConstructor(CART, 'Cart');
  const client = new Client(address, credentials.createInsecure()) as unknown as Record<string, Call>;
  return (name, request) =>
    new Promise((resolve, reject) => {
      client[name]?.(request, { deadline: Date.now() + TIMEOUT_MS }, (error, reply) => {
        if (error === null && reply !== undefined) resolve(reply);
        else reject(error ?? new Error(`${name}: no reply`));
      });
    });
}
