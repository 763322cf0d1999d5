import { PROCESS } from './node_pages.ts';

/** Peers of the busy Pods. Each has a name of its own, as a Service in a cluster has. */
const PEERS = '203.0.112.0/22';

/** Configuration of an agent beside the busy Pods. */
export const BUSY_CONFIG = { sinks: {}, external: { by: 'address' } } as const;

/**
 * A Pod with a network device, an open port and connections to other servers, all of whose addresses are its own: three
 * Pods have 500 edges, every tenth of the others 30, and the remaining ones 1 to 12. About five times a second it
 * exchanges data over one of its connections and sends a datagram over the device; in two of a hundred rounds, a
 * connection is refused.
 */
export const BUSY_POD = `
import os, random, resource, socket, time
open('/proc/self/comm', 'w').write('${PROCESS}')
number, peer, node = int(os.environ['POD_NUMBER']), f'bench{os.getpid()}', os.getppid()
edges = 500 if number <= 3 else 30 if number % 10 == 0 else 1 + number * 7 % 12
resource.setrlimit(resource.RLIMIT_NOFILE, (2_000, 2_000))
for command in [
    f'ip link add eth0 type veth peer name {peer} netns {node}', 'ip addr add 10.9.0.1/24 dev eth0', 'ip link set eth0 up',
    f'nsenter --net=/proc/{node}/ns/net ip link set {peer} up', 'ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:01 dev eth0',
    'ip route add local ${PEERS} dev lo',
]:
    assert os.system(command) == 0, command
server = socket.create_server(('127.0.0.1', 8080), backlog=100)
outside = socket.create_server(('0.0.0.0', 8443), backlog=100)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def connect(host, listening):
    client = socket.create_connection((host, listening.getsockname()[1]), source_address=('127.0.0.1', 0))
    return client, listening.accept()[0]
pairs = [connect('127.0.0.1', server) for _ in range(10)]
pairs += [connect(f'203.0.{112 + one // 256}.{one % 256}', outside) for one in range(1, edges + 1)]
print('ready', flush=True)
while True:
    time.sleep(random.expovariate(5))
    client, other = random.choice(pairs)
    client.sendall(b'x' * random.randrange(1, 4000))
    other.recv(65536)
    other.sendall(b'x' * random.randrange(1, 40000))
    client.recv(65536)
    out.sendto(b'x' * random.randrange(1, 1400), ('10.9.0.2', 9))
    if random.random() < 0.02:
        socket.socket().connect_ex(('127.0.0.1', 7))
`;
