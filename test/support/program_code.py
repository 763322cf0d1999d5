"""Prints the instructions and the machine code of loaded BPF programs as JSON. The arguments are their names (include/uapi/linux/bpf.h)."""

import ctypes
import json
import os
import struct
import sys

BPF = {'x86_64': 321, 'aarch64': 280}[os.uname().machine]
GET_NEXT_ID, GET_FD_BY_ID, GET_INFO = 11, 13, 15
JITED_LENGTH, XLATED_LENGTH, JITED, XLATED, NAME = 16, 20, 24, 32, 64
INFO_BYTES, CODE_BYTES = 256, 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def call(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Returns the result of bpf(), which is -1 after an error, and what it has written to its attributes."""
    buffer = ctypes.create_string_buffer(attributes, 128)
    return libc.syscall(BPF, command, buffer, 128), buffer.raw


def code_of(fd: int) -> tuple[str, dict[str, str]]:
    """Returns the name and the code of a program, as hexadecimal text."""
    info = ctypes.create_string_buffer(INFO_BYTES)
    codes = {JITED: ctypes.create_string_buffer(CODE_BYTES), XLATED: ctypes.create_string_buffer(CODE_BYTES)}
    struct.pack_into('II', info, JITED_LENGTH, CODE_BYTES, CODE_BYTES)
    for place, buffer in codes.items():
        struct.pack_into('Q', info, place, ctypes.addressof(buffer))
    result, _ = call(GET_INFO, struct.pack('IIQ', fd, INFO_BYTES, ctypes.addressof(info)))
    if result < 0:
        raise OSError(ctypes.get_errno(), 'BPF_OBJ_GET_INFO_BY_FD')
    jited, xlated = struct.unpack_from('II', info, JITED_LENGTH)
    if max(jited, xlated) > CODE_BYTES:
        raise ValueError(f'the code has {jited} and {xlated} bytes')
    name = info.raw[NAME : NAME + 16].split(b'\0')[0].decode()
    return name, {'machine': codes[JITED].raw[:jited].hex(), 'bpf': codes[XLATED].raw[:xlated].hex()}


found, current = {}, 0
while True:
    result, attributes = call(GET_NEXT_ID, struct.pack('II', current, 0))
    if result < 0:
        break
    current = struct.unpack_from('I', attributes, 4)[0]
    fd, _ = call(GET_FD_BY_ID, struct.pack('II', current, 0))
    if fd < 0:
        continue
    name, code = code_of(fd)
    os.close(fd)
    if name in sys.argv[1:]:
        found[name] = code
print(json.dumps(found))
