"""A DNS server with hostile responses, and TLS servers. Arguments: address, directory of certificates, NAME=PORT..."""
import http.server, socket, socketserver, ssl, struct, sys, threading

address, certificates, *ports = sys.argv[1:]
GOOD = socket.inet_aton(address)
CONTROL = b'\n=> seen: reached: all is well\r\x1b]0;title\x07\x1b[2J\x9b31m'


def name(*labels):
    return b''.join(bytes([len(label)]) + label for label in labels) + b'\0'


def record(owner, kind, data):
    return owner + struct.pack('>HHIH', kind, 1, 5, len(data)) + data


OWN = b'\xc0\x0c'
CNAME = name(CONTROL, b'shop', b'test')
TRICKS = {
    'control': (2, record(OWN, 5, CNAME) + record(CNAME, 1, GOOD)),
    'short': (1, record(OWN, 1, GOOD[:3])),
    'missing': (65535, b''),
}


def answer(query):
    first = query[13:13 + query[12]].decode()
    at = 12
    while query[at]:
        at += query[at] + 1
    kind, question = struct.unpack('>H', query[at + 1:at + 3])[0], query[12:at + 5]
    id, flags = query[:2], 0x8180
    count, records = TRICKS.get(first, (1, record(OWN, 1, GOOD)))
    if first == 'loop':
        # A name that points to itself.
        records = record(struct.pack('>H', 0xc000 | 12 + len(question)), 1, GOOD)
    if first == 'wrongid':
        id = bytes([id[0] ^ 1, id[1]])
    if first == 'question':
        question = name(b'else', b'test') + question[-4:]
    if first == 'huge':
        count = 4000
        records = record(OWN, 1, GOOD) * count
    if first == 'nosuch':
        flags |= 3
    if kind != 1 or first == 'nosuch':
        count, records = 0, b''
    return id + struct.pack('>HHHHH', flags, 1, count, 0, 0) + question + records


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, reply = self.request
        response = answer(data)
        if len(response) > 1200:
            response = response[:2] + struct.pack('>HHHHH', 0x8380, 1, 0, 0, 0) + data[12:]
        reply.sendto(response, self.client_address)


class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        size = struct.unpack('>H', self.request.recv(2, socket.MSG_WAITALL))[0]
        response = answer(self.request.recv(size, socket.MSG_WAITALL))
        self.request.sendall(struct.pack('>H', len(response)) + response)


class Pages(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        """Redirects without an end, with paths of any length."""
        self.send_response(302)
        self.send_header('Location', self.path + 'x' * 100)
        self.end_headers()


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


def run(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


run(socketserver.ThreadingUDPServer((address, 53), Datagram))
run(socketserver.ThreadingTCPServer((address, 53), Stream))
run(Server((address, 8000), Pages))
for certificate, port in (pair.split('=') for pair in ports):
    server = Server((address, int(port)), Pages)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f'{certificates}/{certificate}.crt', f'{certificates}/{certificate}.key')
    server.socket = context.wrap_socket(server.socket, server_side=True)
    run(server)
print('ready', flush=True)
threading.Event().wait()
