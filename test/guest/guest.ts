import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CPUS_GIVEN } from './check.ts';
import { findKernel, type Kernel, type KernelName } from './kernels.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const INIT = fileURLToPath(new URL('./init', import.meta.url));
const BUSYBOX = '/bin/busybox';

/** Modules that the guest needs before it can access the host's files. */
const BOOT_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];
const STATUS = /^guest: status (\d+)$/;
const CONSOLE_LINES = 30;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Option for execFileSync. The archive of the modules is 3 MB in size, which exceeds the default of `maxBuffer`. */
const LARGE = { maxBuffer: 64 * 1024 * 1024 };

export interface GuestOptions {
  /** Command that runs in the project's directory. `node` is the pinned Node.js. */
  readonly command: readonly string[];
  /** Time after which the guest is killed. */
  readonly deadlineMs: number;
  /** Called with each line that the command prints to stdout or stderr. */
  readonly line: (line: string) => void;
  /** Aborting kills the guest. */
  readonly signal?: AbortSignal;
  /**
   * Number of CPUs; 1 by default. With several CPUs, QEMU 7 may execute stale code after the guest's kernel has patched
   * its own code, as it does when a program is attached.
   */
  readonly cpus?: number;
}

/** Returns what this machine lacks to boot a guest with this kernel; undefined if it lacks nothing. */
export function missingForGuest(name: KernelName): string | undefined {
  if (process.arch !== 'x64') return 'guests are for x86-64 only';
  const folders = (process.env['PATH'] ?? '').split(':');
  for (const command of ['qemu-system-x86_64', 'busybox', 'cpio', 'modprobe', 'setpriv']) {
    const isInstalled = folders.some((folder) => existsSync(join(folder, command)));
    if (!isInstalled) return `${command} is not installed (scripts/setup --test)`;
  }
  return findKernel(name) === undefined ? `the kernel ${name} has not been fetched (scripts/setup --test)` : undefined;
}

/**
 * Boots a kernel in QEMU without hardware virtualisation, and runs a command in the guest as root. The guest can read
 * this machine's files but not change them, and can load all modules of its kernel.
 * @returns the command's exit status
 * @throws if the guest exits without reporting an exit status or is killed; the message contains the last lines of the
 * guest's console
 */
export async function runInGuest(name: KernelName, options: GuestOptions): Promise<number> {
  const kernel = findKernel(name);
  if (kernel === undefined) throw new Error(`the kernel ${name} has not been fetched`);
  const folder = mkdtempSync(join(tmpdir(), 'netsonde-guest-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  // The directory must also be removed if this process is interrupted.
  process.once('exit', remove);
  try {
    return await boot(kernel, folder, options);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`kernel ${kernel.release}: ${message}\n${consoleTail(folder)}`, { cause: error });
  } finally {
    process.off('exit', remove);
    remove();
  }
}

async function boot(kernel: Kernel, folder: string, options: GuestOptions): Promise<number> {
  const { command, deadlineMs, line, signal, cpus = 1 } = options;
  writeFileSync(join(folder, 'initramfs'), makeInitramfs(kernel, join(folder, 'tree'), jobScript(command, cpus)));
  // The kernel kills QEMU when this process exits. QEMU gets a higher priority, because timeouts in the guest keep
  // running while QEMU waits for a CPU.
  const first = ['nice', '-n', '-10', 'setpriv', '--pdeathsig', 'KILL', 'qemu-system-x86_64'] as const;
  const [program, ...words] = [...first, ...qemuArguments(kernel, folder, cpus)];
  const qemu = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    qemu.once('error', reject);
    qemu.once('close', resolve);
  });
  let isLate = false;
  const deadline = setTimeout(() => {
    isLate = true;
    qemu.kill('SIGKILL');
  }, deadlineMs);
  const abort = () => qemu.kill('SIGKILL');
  signal?.addEventListener('abort', abort);
  let status: number | undefined;
  createInterface({ input: qemu.stdout }).on('line', (text) => {
    const found = STATUS.exec(text)?.[1];
    if (found === undefined) line(text);
    else status = Number(found);
  });
  let complaints = '';
  qemu.stderr.on('data', (data) => {
    complaints += String(data);
  });
  try {
    const code = await closed;
    if (isLate) throw new Error(`the guest did not end within ${deadlineMs / 1000} s`);
    if (status === undefined) throw new Error(`the guest ended without a status (QEMU: ${code}) ${complaints}`);
    return status;
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener('abort', abort);
  }
}

function qemuArguments(kernel: Kernel, folder: string, cpus: number): string[] {
  const given = {
    accel: 'tcg,thread=single',
    // Emulating a newer CPU model takes a quarter more time, because of its wide registers and five-level page tables.
    cpu: 'Nehalem',
    smp: String(cpus),
    m: '1024',
    display: 'none',
    kernel: kernel.image,
    initrd: join(folder, 'initramfs'),
    // On a busy machine, the kernel's check of its timer could fail, which would prevent it from booting.
    append: 'console=ttyS0 quiet oops=panic panic=-1 mitigations=off no_timer_check',
    virtfs: 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
    // A virtio-net device without a peer.
    netdev: 'hubport,hubid=0,id=nothing',
    device: 'virtio-net-pci,netdev=nothing,romfile=',
  };
  const flags = Object.entries(given).flatMap(([flag, value]) => [`-${flag}`, value]);
  return ['-nodefaults', '-no-reboot', '-serial', `file:${join(folder, 'console')}`, '-serial', 'stdio', ...flags];
}

/** Builds the initramfs with the init process, the modules in load order, and the command. */
function makeInitramfs(kernel: Kernel, tree: string, job: string): Uint8Array {
  for (const name of ['modules', 'proc', 'dev']) mkdirSync(join(tree, name), { recursive: true });
  copyFileSync(BUSYBOX, join(tree, 'busybox'));
  copyFileSync(INIT, join(tree, 'init'));
  for (const name of ['busybox', 'init']) chmodSync(join(tree, name), 0o755);
  for (const [index, path] of bootModules(kernel).entries()) {
    const target = join(tree, 'modules', `${String(index).padStart(2, '0')}-${basename(path).replace(/\.xz$/, '')}`);
    const isPacked = path.endsWith('.xz');
    writeFileSync(target, isPacked ? execFileSync(BUSYBOX, ['unxz', '-c', path], LARGE) : readFileSync(path));
  }
  writeFileSync(join(tree, 'modules_path'), join(kernel.base, 'lib/modules', kernel.release));
  writeFileSync(join(tree, 'job'), job);
  const names = execFileSync('find', ['.'], { cwd: tree });
  return execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: tree, input: names, ...LARGE });
}

/**
 * Returns the files of the boot modules and their dependencies in load order. Built-in modules have no file. Some
 * kernels come without a list of built-in modules, so a module that modprobe does not know is assumed to be built in.
 */
function bootModules({ base, release }: Kernel): string[] {
  const files = BOOT_MODULES.flatMap((module) => {
    const { stdout } = spawnSync('modprobe', ['-q', '-d', base, '-S', release, '--show-depends', module]);
    return [...String(stdout).matchAll(/^insmod (\S+)/gm)].map(([, path = '']) => path);
  });
  return [...new Set(files)];
}

function jobScript(command: readonly string[], cpus: number): string {
  const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;
  return `export PATH=${quote(dirname(process.execPath))}:${PATH} HOME=/tmp NO_COLOR=1 ${CPUS_GIVEN}=${cpus}
cd ${quote(PROJECT)}
exec ${command.map(quote).join(' ')}
`;
}

function consoleTail(folder: string): string {
  try {
    return readFileSync(join(folder, 'console'), 'utf8').split(/\r?\n/).slice(-CONSOLE_LINES).join('\n');
  } catch (error) {
    return `no console: ${(error as Error).message}`;
  }
}
