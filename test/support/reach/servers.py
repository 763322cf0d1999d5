"""Servers of the far end. Arguments: directory of certificates, address of IPv4."""
import http.server, os, socket, socketserver, ssl, struct, sys, threading, time

certificates, address = sys.argv[1:3]


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == '/slow':
            time.sleep(20)
        status = {'/503': 503, '/hostile': 503, '/404': 404, '/loop': 302, '/once': 302}.get(self.path, 200)
        body = b'x' * (200_000 if self.path == '/big' else 10)
        # Control characters that a terminal would obey.
        self.send_response(status, 'red \x1b[31m\x9b32m' if self.path == '/hostile' else None)
        if status == 302:
            self.send_header('Location', '/loop' if self.path == '/loop' else '/')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.do_GET()


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def handle_error(self, *_):
        pass


def listen(port, backlog=16):
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(('::', port))
    server.listen(backlog)
    return server


def run(function, *args):
    threading.Thread(target=function, args=args, daemon=True).start()


run(Server(('::', 8080), Pages).serve_forever)
for port, name in ((8443, 'unknown'), (8444, 'other'), (8445, 'expired'), (8446, 'good')):
    server = Server(('::', port), Pages)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f'{certificates}/{name}.crt', f'{certificates}/{name}.key')
    server.socket = context.wrap_socket(server.socket, server_side=True)
    run(server.serve_forever)

silent = listen(8090)
full = listen(8091, 0)
fillers = []
for _ in range(4):
    filler = socket.socket()
    filler.setblocking(False)
    filler.connect_ex((address, 8091))
    fillers.append(filler)


def hold():
    held = []
    while True:
        held.append(silent.accept())


def reset():
    server = listen(8092)
    while True:
        client = server.accept()[0]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.close()


def echo():
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(('::', 7000))
    while True:
        data, client = server.recvfrom(65536)
        server.sendto(data, client)


run(hold)
run(reset)
run(echo)
NAMES = {'web.shop.svc.test': address}


def answer(query):
    name, at = [], 12
    while query[at]:
        name.append(query[at + 1:at + 1 + query[at]].decode())
        at += query[at] + 1
    kind = struct.unpack('>H', query[at + 1:at + 3])[0]
    question, text = query[12:at + 5], '.'.join(name).lower()
    known = NAMES.get(text)
    records = b''
    if known and kind == 1:
        records = b'\xc0\x0c' + struct.pack('>HHIH', 1, 1, 5, 4) + socket.inet_aton(known)
    code = 2 if text.startswith('fails.') else 0 if known else 3
    return query[:2] + struct.pack('>HHHHH', 0x8180 | code, 1, 1 if records else 0, 0, 0) + question + records


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, reply = self.request
        name_is_long = b'\x04long' in data
        response = answer(data)
        # A truncated response makes the resolver ask again over TCP.
        if name_is_long:
            response = data[:2] + struct.pack('>HHHHH', 0x8380, 1, 0, 0, 0) + data[12:]
        try:
            reply.sendto(response, self.client_address)
        except OSError:
            pass  # without a way back


class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        size = struct.unpack('>H', self.request.recv(2, socket.MSG_WAITALL))[0]
        response = answer(self.request.recv(size, socket.MSG_WAITALL))
        self.request.sendall(struct.pack('>H', len(response)) + response)


NAMES['long.shop.svc.test'] = address
socketserver.ThreadingTCPServer.allow_reuse_address = True
run(socketserver.ThreadingUDPServer((address, 53), Datagram).serve_forever)
run(socketserver.ThreadingTCPServer((address, 53), Stream).serve_forever)
print('ready', flush=True)
threading.Event().wait()
