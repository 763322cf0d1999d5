"""hanging_disk.py MOUNT_POINT READY_FILE

Mounts a FUSE file system that never responds. A process that accesses it hangs until that process is killed or this
program exits. Creates READY_FILE when the file system has been mounted.
"""

import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, SIGKILL = 1, 9
libc.prctl(PR_SET_PDEATHSIG, SIGKILL)
fd = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0'
if libc.mount(b'hangs', sys.argv[1].encode(), b'fuse', 0, options.encode()) != 0:
    raise OSError(ctypes.get_errno(), 'mount')
request = os.read(fd, 1 << 20)
answer = struct.pack('<IIIIHHIIHHI7I', 7, 31, 65536, 0, 12, 9, 65536, 1, 32, 0, 0, *[0] * 7)
os.write(fd, struct.pack('<IiQ', 16 + len(answer), 0, struct.unpack_from('<Q', request, 8)[0]) + answer)
open(sys.argv[2], 'w').close()
time.sleep(600)
