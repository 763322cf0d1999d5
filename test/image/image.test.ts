import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import { run } from '../support/command.ts';
import { elfMachine } from '../support/elf.ts';
import { TestNetns } from '../support/hosts.ts';
import type { KubernetesObject } from '../support/kustomize.ts';
import { eventually } from '../support/oracle.ts';
import { shipped } from '../support/security_context.ts';
import { Builder, type Built, WORK } from './builder.ts';
import { startContainer } from './container.ts';
import { parseDockerfile } from './dockerfile.ts';
import type { MountedTree } from './tree.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const BUILD_MS = 30 * 60_000;
const HOME = '/opt/netsonde';
/** Tools that only builds need. The image must not contain them, because attackers could use them. */
const TOOLS = ['as', 'cc', 'clang', 'curl', 'g++', 'gcc', 'git', 'ld', 'make', 'nc', 'npm', 'npx', 'python3', 'wget'];

const builder = new Builder(PROJECT, (line) => process.stderr.write(`image: ${line}\n`));
const resources = new DisposableStack();
let build: Built;
let image: Built;
let tree: MountedTree;

beforeAll(async () => {
  // The environment variable DEBIAN selects a different Debian release.
  const { DEBIAN } = process.env;
  const text = readFileSync(join(PROJECT, 'Dockerfile'), 'utf8');
  const built = await builder.build(parseDockerfile(text, DEBIAN === undefined ? {} : { DEBIAN }));
  [build, image] = [built.at(0), built.at(-1)] as [Built, Built];
  tree = resources.use(builder.mount(image));
  run('mount', '-t', 'proc', 'proc', tree.at('/proc'));
}, BUILD_MS);

afterAll(() => {
  resources.dispose();
  builder.prune();
  rmSync(WORK, { recursive: true, force: true });
});

/** Returns the paths of all files in these layers. */
function filesIn(folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() || entry.isSymbolicLink())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length)),
  );
}

function packagesIn(folder: string): string[] {
  const status = readFileSync(join(folder, 'var/lib/dpkg/status'), 'utf8');
  return [...status.matchAll(/^Package: (\S+)$/gm)].map(([, name = '']) => name);
}

describe('the image', () => {
  it('has the agent, its licences and Node.js, and nothing else of the build', () => {
    const files = filesIn([tree.at(HOME)]).map((path) => path.slice(1));
    const objects = ['probes', 'walks']
      .flatMap((folder) => readdirSync(join(PROJECT, 'src/bpf', folder)))
      .filter((name) => name.endsWith('.bpf.c'));
    expect(files).toEqual(
      expect.arrayContaining([
        ...[
          'LICENSE',
          'bin/netsonde',
          'dist/LICENSES.txt',
          'dist/bpf/LICENSE',
          'dist/bpf_napi.node',
          'dist/main.js',
          'dist/web/index.html',
        ],
        ...['node_modules/.bin/node', 'node_modules/LICENSE', 'package.json'],
        ...objects.map((name) => `dist/bpf/${name.replace(/c$/, 'o')}`),
      ]),
    );
    const expected =
      /^(LICENSE|package\.json|bin\/netsonde|node_modules\/(\.bin\/node|LICENSE)|dist\/web\/[\w.-]+\.(html|js|css)(\.gz)?|dist\/.*(\.js|\.map|\.o|\.node|LICENSES?(\.txt)?))$/;
    expect(files.filter((path) => !expected.test(path))).toEqual([]);
    expect(readdirSync(tree.at(`${HOME}/dist/bpf`))).toHaveLength(objects.length + 1);
  });

  it('has libbpf and its dependencies', () => {
    const [base = '', ...layers] = image.layers;
    const added = packagesIn(tree.root).filter((name) => !packagesIn(base).includes(name));
    // In Debian 13, libelf1 is called libelf1t64.
    expect(added.map((name) => name.replace('t64', '')).sort()).toEqual([
      'libbpf1',
      'libdbus-1-3',
      'libelf1',
      'libpcap0.8',
    ]);
    const theirs = new Set(run('chroot', tree.root, 'dpkg', '--listfiles', ...added).split('\n'));
    const others = filesIn(layers).filter(
      (path) => !path.startsWith(`${HOME}/`) && !theirs.has(path) && !theirs.has(path.replace(/^\/usr/, '')),
    );
    expect(
      others.filter((path) => !/^\/(var\/(lib\/(apt|dpkg)|cache\/debconf)\/|etc\/ld\.so\.cache$)/.test(path)),
    ).toEqual([]);
    for (const folder of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'usr/local/bin']) {
      expect(readdirSync(tree.at(folder)).filter((name) => TOOLS.includes(name))).toEqual([]);
    }
  });

  it('belongs to root, and no other user may write to it', () => {
    for (const path of ['', ...filesIn([tree.at(HOME)])]) {
      const { uid, gid, mode } = lstatSync(tree.at(HOME + path));
      expect([path, uid, gid, mode & 0o022]).toEqual([path, 0, 0, 0]);
    }
  });

  it('has the size that docs/image.md gives', () => {
    const sizes = image.layers
      .slice(1)
      .flatMap((layer) => filesIn([layer]).map((path) => lstatSync(layer + path).size));
    const measured = sizes.reduce((sum, size) => sum + size, 0) / 1e6;
    process.stderr.write(`image: ${measured.toFixed(1)} MB on top of Debian\n`);
    const [, documented = ''] = /takes (\d+) MB/.exec(readFileSync(join(PROJECT, 'docs/image.md'), 'utf8')) ?? [];
    expect(Math.abs(measured - Number(documented))).toBeLessThan(3);
  });

  it('finds every library, and certificates of authorities', () => {
    for (const file of ['node_modules/.bin/node', 'dist/bpf_napi.node']) {
      const libraries = tree.exec('ldd', `${HOME}/${file}`);
      expect(libraries).toContain('libc.so.6 => ');
      expect(libraries).not.toContain('not found');
    }
    const count = 'console.log(require("node:tls").rootCertificates.length)';
    expect(Number(tree.exec(`${HOME}/node_modules/.bin/node`, '-e', count))).toBeGreaterThan(100);
  });

  it('has the command line for users who look inside', () => {
    const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as { version: string };
    expect(tree.exec('env', `PATH=${image.stage.env['PATH']}`, 'netsonde', '--version')).toContain(version);
    const list = tree.exec('env', `PATH=${image.stage.env['PATH']}`, 'netsonde', 'probes');
    expect(list).toContain('packetloss');
  });
});

interface Event {
  readonly probe: string;
  readonly pod: string;
  readonly reason: string;
}

describe('the image under the securityContext of the DaemonSet', () => {
  const { container, objects } = shipped([]);
  const configMap = objects.find(({ kind }) => kind === 'ConfigMap') as KubernetesObject & {
    data: Record<string, string>;
  };

  it.each([container.securityContext.runAsUser, 65_532])(
    'shows a drop as user %i, and ends on the stop signal',
    async (user) => {
      using folders = new DisposableStack();
      const folder = folders.adopt(mkdtempSync(join(tmpdir(), 'image-')), (path) => rmSync(path, { recursive: true }));
      const [config, state] = ['config', 'state'].map((name) => join(folder, name)) as [string, string];
      for (const path of [config, state]) mkdirSync(path);
      for (const [name, text] of Object.entries(configMap.data)) writeFileSync(join(config, name), text);
      run('chown', `${user}:${user}`, state);
      using netns = new TestNetns();
      netns.ip('link set lo up');
      using root = builder.mount(image);
      await using agent = await startContainer(root, image.stage, container, user, { config, state });

      const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8');
      expect(status).toMatch(
        new RegExp(`^Name:\\t(node|MainThread)\\n[^]*^Uid:\\t${user}\\t${user}\\t${user}\\t`, 'm'),
      );
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      // The bits are 38 (CAP_PERFMON) and 39 (CAP_BPF).
      expect(status).toMatch(/^CapEff:\t000000c000000000\nCapBnd:\t000000c000000000$/m);
      expect(readFileSync(`/proc/${agent.pid}/mountinfo`, 'utf8')).toMatch(
        /^\d+ \d+ \S+ \S+ \S+ ro[, ][^\n]* overlay /m,
      );

      await eventually(async () => expect((await agent.get('/readyz')).status).toBe(200), 20_000);
      const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
      const running = probes.filter(({ state }) => state === 'running');
      expect(running.filter(({ kind }) => kind === 'ebpf').map(({ name }) => name)).toEqual(
        expect.arrayContaining(['packetloss', 'tcpreset', 'tcpretrans', 'lifecycle']),
      );
      expect(running.find(({ name }) => name === 'tcp')?.reader).toBe('pass');
      expect(agent.programs.length).toBeGreaterThan(0);

      netns.python('import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))');
      await eventually(async () => {
        const lines = agent.stdout.split('\n').slice(0, -1);
        const events = lines.map((line) => JSON.parse(line) as Event).filter(({ pod }) => pod === netns.name);
        expect(events.map(({ probe, reason }) => `${probe} ${reason}`)).toContain('packetloss NO_SOCKET');
        const { samples } = await agent.page();
        const drops = samples.find(
          ({ name, labels }) =>
            name === 'netsonde_packet_drops_total' && labels['pod'] === netns.name && labels['reason'] === 'NO_SOCKET',
        );
        expect(Number(drops?.value)).toBe(1);
      }, 15_000);

      agent.signal(image.stage.stopSignal as NodeJS.Signals);
      expect(await agent.exited).toEqual({ code: 0, signal: null });
      // All parts of the agent must be closed before their deadline. The log would name any that were not.
      expect(agent.stderr).toContain(': the agent is shutting down');
      expect(agent.stderr).not.toMatch(/did not close|hangs/);
    },
    90_000,
  );
});

describe('for arm64, by the compilers of the image', () => {
  it(
    'the addon and all BPF objects compile',
    async () => {
      const [first] = build.stage.steps;
      const last = build.stage.steps.at(-1);
      if (first?.kind !== 'run' || last?.kind !== 'run')
        throw new Error('the first stage begins or ends with another step');
      const compile =
        'CXX=aarch64-linux-gnu-g++ LDLIBS= OUT=/arm64 && make -s -j2 -C src/bpf MACHINE=aarch64 OUT=/arm64';
      const compiler = 'apt-get update && apt-get install -y --no-install-recommends g++-aarch64-linux-gnu';
      const prepared = await builder.step(build, { ...last, command: compiler });
      const compiled = await builder.step(prepared, { ...last, command: `make -s -j2 -C bpf-napi ${compile}` });
      using arm64 = builder.mount(compiled);
      expect(elfMachine(arm64.at('/arm64/bpf_napi.node'))).toBe('aarch64');
      const objects = readdirSync(arm64.at('/arm64')).filter((name) => name.endsWith('.bpf.o'));
      expect(objects.sort()).toEqual(
        readdirSync(arm64.at('/build/dist/bpf'))
          .filter((name) => name !== 'LICENSE')
          .sort(),
      );
      for (const name of objects) expect(elfMachine(arm64.at(`/arm64/${name}`))).toBe('bpf');
    },
    BUILD_MS,
  );

  it('the lockfile provides Node.js and esbuild', () => {
    using folders = new DisposableStack();
    const folder = folders.adopt(mkdtempSync(join(tmpdir(), 'arm64-')), (path) => rmSync(path, { recursive: true }));
    mkdirSync(join(folder, 'bpf-napi'));
    for (const file of ['package.json', 'package-lock.json', 'bpf-napi/package.json']) {
      writeFileSync(join(folder, file), readFileSync(join(PROJECT, file)));
    }
    const flags = ['--os=linux', '--cpu=arm64', '--ignore-scripts', '--no-audit', '--no-fund'];
    run('npm', 'ci', ...flags, '--prefix', folder);
    expect(elfMachine(join(folder, 'node_modules/.bin/node'))).toBe('aarch64');
    expect(elfMachine(join(folder, 'node_modules/@esbuild/linux-arm64/bin/esbuild'))).toBe('aarch64');
    type Lock = { packages: Record<string, { optional?: boolean; dev?: boolean; link?: boolean; cpu?: string[] }> };
    const { packages } = JSON.parse(readFileSync(join(PROJECT, 'package-lock.json'), 'utf8')) as Lock;
    const needed = Object.entries(packages).filter(([, { optional, cpu }]) => optional !== true && cpu === undefined);
    for (const [path] of needed) expect(() => lstatSync(join(folder, path)), path).not.toThrow();
    expect(needed.length).toBeGreaterThan(100);
  }, 300_000);
});
