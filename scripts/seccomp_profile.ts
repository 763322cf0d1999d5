import { readFileSync } from 'node:fs';

/** System calls that the agent made during `scripts/measure_calls.ts`. */
const MEASURED: readonly string[] = JSON.parse(readFileSync(new URL('measured_calls.json', import.meta.url), 'utf8'));

interface Family {
  readonly why: string;
  readonly calls: readonly string[];
}

/** Groups of system calls that are allowed for a common reason, whether or not they were measured. */
export const STATED: readonly Family[] = [
  {
    why: 'The container runtime makes these calls after it has installed the filter and before it executes the agent.',
    calls: [
      'execve',
      'close_range',
      'faccessat2',
      'getppid',
      'prctl',
      'setresgid',
      'setresuid',
      'setgroups',
      'capset',
      'capget',
      'setsid',
    ],
  },
  {
    why: 'These calls replace others on arm64, with another libc, or with another version of libuv.',
    calls: [
      ...[
        'epoll_pwait',
        'epoll_pwait2',
        'epoll_wait',
        'epoll_create1',
        'eventfd2',
        'pipe2',
        'dup',
        'dup3',
        'poll',
        'ppoll',
      ],
      ...[
        'select',
        'pselect6',
        'clone',
        'clone3',
        'fstat',
        'newfstatat',
        'statx',
        'stat',
        'lstat',
        'access',
        'faccessat',
        'readlink',
        'readlinkat',
      ],
      ...[
        'open',
        'openat',
        'getdents',
        'getdents64',
        'mkdir',
        'mkdirat',
        'unlink',
        'unlinkat',
        'rename',
        'renameat',
        'renameat2',
        'chmod',
        'fchmod',
        'fchmodat',
      ],
      ...[
        'chown',
        'fchown',
        'fchownat',
        'utimensat',
        'rmdir',
        'arch_prctl',
        'rseq',
        'set_robust_list',
        'get_robust_list',
        'set_tid_address',
        'membarrier',
      ],
      ...[
        'getrlimit',
        'setrlimit',
        'prlimit64',
        'uname',
        'sysinfo',
        'getcpu',
        'sched_getaffinity',
        'time',
        'gettimeofday',
        'clock_gettime',
        'clock_getres',
      ],
    ],
  },
  {
    why: 'Memory, threads, signals and time, including calls that are only made under memory pressure.',
    calls: [
      ...[
        'brk',
        'mmap',
        'mprotect',
        'mremap',
        'munmap',
        'madvise',
        'mlock',
        'munlock',
        'msync',
        'pkey_alloc',
        'pkey_mprotect',
        'pkey_free',
      ],
      ...[
        'futex',
        'futex_waitv',
        'sched_yield',
        'nanosleep',
        'clock_nanosleep',
        'restart_syscall',
        'rt_sigaction',
        'rt_sigprocmask',
        'rt_sigreturn',
      ],
      ...[
        'rt_sigtimedwait',
        'sigaltstack',
        'kill',
        'tgkill',
        'tkill',
        'exit',
        'exit_group',
        'wait4',
        'waitid',
        'gettid',
        'getpid',
        'getrandom',
        'getrusage',
      ],
    ],
  },
  {
    why: 'Connections of the sinks, the API and /metrics over TCP and Unix sockets, and DNS over UDP.',
    calls: [
      ...[
        'socket',
        'socketpair',
        'bind',
        'listen',
        'accept',
        'accept4',
        'connect',
        'shutdown',
        'getsockname',
        'getpeername',
        'getsockopt',
        'setsockopt',
      ],
      ...[
        'sendto',
        'recvfrom',
        'sendmsg',
        'recvmsg',
        'sendmmsg',
        'recvmmsg',
        'read',
        'readv',
        'write',
        'writev',
        'ioctl',
        'fcntl',
        'close',
      ],
    ],
  },
  {
    why: 'Files of the spool, of the file sink and of the persistent state, and watches for changed files.',
    calls: [
      ...[
        'pread64',
        'pwrite64',
        'preadv',
        'pwritev',
        'lseek',
        'ftruncate',
        'truncate',
        'fsync',
        'fdatasync',
        'fallocate',
        'flock',
        'fadvise64',
      ],
      ...[
        'inotify_init1',
        'inotify_add_watch',
        'inotify_rm_watch',
        'statfs',
        'fstatfs',
        'umask',
        'getcwd',
        'copy_file_range',
        'sendfile',
        'linkat',
        'symlinkat',
      ],
    ],
  },
  {
    why: 'BPF programs and maps, performance events for kprobes, and other network namespaces.',
    calls: ['bpf', 'perf_event_open', 'setns'],
  },
  {
    why: 'User, group and scheduling priority of the process.',
    calls: [
      'getuid',
      'geteuid',
      'getgid',
      'getegid',
      'getgroups',
      'getresuid',
      'getresgid',
      'sched_getscheduler',
      'sched_setscheduler',
      'getpriority',
      'setpriority',
    ],
  },
];

/**
 * Measured calls that are not allowed, because io_uring operations bypass seccomp. libuv also works without io_uring.
 */
const REFUSED = new Set(['io_uring_setup', 'io_uring_enter', 'io_uring_register']);

const ALLOWED = [...new Set([...MEASURED, ...STATED.flatMap(({ calls }) => calls)])]
  .filter((name) => !REFUSED.has(name))
  .sort();

/**
 * Profile in the format of container runtimes (https://kubernetes.io/docs/reference/node/seccomp/), which is also
 * Docker's format.
 */
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly { readonly names: readonly string[]; readonly action: string }[];
}

/** Allowed calls that were measured but do not belong to any group. */
export const SEEN_ONLY = MEASURED.filter(
  (name) => ALLOWED.includes(name) && !STATED.some(({ calls }) => calls.includes(name)),
);

const EPERM = 1;

/** Allows the agent's system calls. Every other call fails with EPERM. */
export const SECCOMP_PROFILE: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: EPERM,
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
  syscalls: [{ names: ALLOWED, action: 'SCMP_ACT_ALLOW' }],
};
