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
import { buildForeign, COMPILER, fetchUserland, hasUserland, REPLACED, USERLAND } from './foreign.ts';
import { fetchKernel, findKernel, KERNELS, type Kernel, type KernelName } from './kernels.ts';
import { MACHINES } from './machines.ts';

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

/** Returns whether this machine's files are of no use in a guest of this architecture. Guests need an x86-64 machine. */
function isForeign({ architecture }: Pick<Kernel, 'architecture'>): boolean {
  return architecture !== 'amd64';
}

/** Returns what this machine lacks to boot a guest with this kernel; undefined if it lacks nothing. */
export function missingForGuest(name: KernelName): string | undefined {
  const fetch = `node test/guest/main.ts fetch ${name}`;
  return missingPrograms(name) ?? (isFetched(name) ? undefined : `the kernel ${name} has not been fetched (${fetch})`);
}

/** Likewise, but assumes that the kernel has been fetched. */
export function missingPrograms(name: KernelName): string | undefined {
  if (process.arch !== 'x64') return 'guests need an x86-64 machine';
  const folders = (process.env['PATH'] ?? '').split(':');
  const isInstalled = (command: string) => folders.some((folder) => existsSync(join(folder, command)));
  const common = ['busybox', 'cpio', 'modprobe', 'setpriv'];
  const { emulator } = MACHINES[KERNELS[name].architecture];
  const needed = isForeign(KERNELS[name]) ? [...common, emulator, COMPILER] : [...common, emulator];
  const missing = needed.find((command) => !isInstalled(command));
  const option = isForeign(KERNELS[name]) ? '--kernels' : '--test';
  return missing === undefined ? undefined : `${missing} is not installed (scripts/setup ${option})`;
}

export function isFetched(name: KernelName): boolean {
  return findKernel(name) !== undefined && (!isForeign(KERNELS[name]) || hasUserland());
}

/**
 * Fetches a kernel, and what a guest of another architecture needs besides.
 * @throws if a mirror is unreachable or does not have the kernel
 */
export function fetchGuest(name: KernelName): void {
  if (isForeign(KERNELS[name]) && !hasUserland()) fetchUserland();
  if (findKernel(name) === undefined) fetchKernel(name);
}

/**
 * Boots a kernel in QEMU without hardware virtualisation, and runs a command in the guest as root. The guest can read
 * this machine's files, or with another architecture the project's, but not change them. It can load all modules of its
 * kernel.
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
  if (isForeign(kernel)) buildForeign();
  const job = jobScript(command, cpus);
  writeFileSync(join(folder, 'initramfs'), makeInitramfs(kernel, join(folder, 'tree'), job));
  // The kernel kills QEMU when this process exits. QEMU gets a higher priority, because timeouts in the guest keep
  // running while QEMU waits for a CPU.
  const first = ['nice', '-n', '-10', 'setpriv', '--pdeathsig', 'KILL', MACHINES[kernel.architecture].emulator];
  const [program = '', ...words] = [...first, ...qemuArguments(kernel, folder, cpus)];
  const qemu = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
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

function qemuArguments({ architecture, image }: Kernel, folder: string, cpus: number): string[] {
  const { given, append, job } = MACHINES[architecture];
  const all = {
    ...given,
    smp: String(cpus),
    kernel: image,
    initrd: join(folder, 'initramfs'),
    append,
    virtfs: 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
  };
  const flags = Object.entries(all).flatMap(([flag, value]) => [`-${flag}`, value]);
  return ['-nodefaults', '-no-reboot', '-serial', `file:${join(folder, 'console')}`, ...job, ...flags];
}

/** Builds the initramfs with the init process, the modules in load order, and the command. */
function makeInitramfs(kernel: Kernel, tree: string, job: string): Uint8Array {
  for (const name of ['modules', 'proc', 'dev']) mkdirSync(join(tree, name), { recursive: true });
  copyFileSync(isForeign(kernel) ? join(USERLAND, BUSYBOX) : BUSYBOX, join(tree, 'busybox'));
  copyFileSync(INIT, join(tree, 'init'));
  for (const name of ['busybox', 'init']) chmodSync(join(tree, name), 0o755);
  for (const [index, path] of bootModules(kernel).entries()) {
    const target = join(tree, 'modules', `${String(index).padStart(2, '0')}-${basename(path).replace(/\.xz$/, '')}`);
    const isPacked = path.endsWith('.xz');
    writeFileSync(target, isPacked ? execFileSync(BUSYBOX, ['unxz', '-c', path], LARGE) : readFileSync(path));
  }
  const settings = {
    MODULES: join(kernel.base, 'lib/modules', kernel.release),
    JOB_DEVICE: MACHINES[kernel.architecture].jobDevice,
    ...(isForeign(kernel) ? { USERLAND, PROJECT } : {}),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${quote(value)}\n`);
  writeFileSync(join(tree, 'settings'), lines.join(''));
  const replaced = Object.entries(REPLACED).map(([path, target]) => `${path} ${target}\n`);
  writeFileSync(join(tree, 'replaced'), replaced.join(''));
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

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

function jobScript(command: readonly string[], cpus: number): string {
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
