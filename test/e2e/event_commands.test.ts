import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { readEvent } from '../support/contract.ts';
import { dropUdp } from '../support/event_rate.ts';
import { HostPair, startPython } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { LokiServer } from '../support/loki_server.ts';
import { eventually } from '../support/oracle.ts';

let pair: HostPair;
let agent: AgentProcess;

beforeAll(async () => {
  pair = await HostPair.create();
  dropUdp(pair);
  agent = await AgentProcess.serve();
  await eventually(async () => {
    expect(JSON.stringify(await agent.json('/api/v1/entities'))).toContain(pair.b.netns.name);
  });
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

const drop = () => pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 1, bytes: 9 });

async function run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  await using command = AgentProcess.run(['events', '--url', agent.url ?? '', ...args]);
  const { code } = await command.exited;
  return { code, stdout: command.stdout, stderr: command.stderr };
}

describe('netsonde events', () => {
  it('shows events of the agent, as JSON and as text', async () => {
    const port = await drop();
    const src = `${pair.addressA.ipv4}:${port}`;
    await eventually(() => expect(agent.stdout).toContain(`"${src}"`));
    const filters = ['--pod', pair.b.netns.name, '--probe', 'packetloss,tcpreset', '--type', 'packet_drop'];
    const json = await run(...filters, '--since', '1m', '-o', 'json');
    const events = json.stdout.trimEnd().split('\n').map(readEvent);
    expect(events.filter((event) => event.src === src)).toHaveLength(1);
    expect(events.every(({ pod }) => pod === pair.b.netns.name)).toBe(true);
    const text = await run(...filters);
    expect(text.stdout).toMatch(
      new RegExp(`^\\d{4}-\\d\\d-\\d\\dT[0-9:.]+Z warning ${pair.b.netns.name} packet_drop: .* from ${src} `, 'm'),
    );
    expect([json.code, text.code]).toEqual([0, 0]);
    expect((await run('--pod', `shop/${pair.b.netns.name}`)).stdout).toBe('');
    expect((await run('--pod', pair.b.netns.name, '--probe', 'tcpreset')).stdout).toBe('');
  });

  it('follows until it gets a signal', async () => {
    await using command = AgentProcess.run(['events', '--url', agent.url ?? '', '-f', '--pod', pair.b.netns.name]);
    const src = await eventually(async () => {
      const port = await drop();
      await eventually(() => expect(command.stdout).toContain(`:${port} `), 500);
      return port;
    });
    expect(command.stdout).toContain(`${pair.addressA.ipv4}:${src}`);
    command.signal('SIGINT');
    expect(await command.exited).toEqual({ code: 0, signal: null });
  });

  it.each([
    [['--probe', 'packetlos'], /responded with 400: no such probe: packetlos \(did you mean packetloss\?\)/],
    [['--type', 'x'], /responded with 400: no such type: x; there are: /],
    [['--since', 'yesterday'], /responded with 400: since: yesterday is neither/],
    [
      ['--url', 'http://127.0.0.1:64999'],
      /cannot connect to the agent at 127\.0\.0\.1:64999 \(--url\): .*ECONNREFUSED/,
    ],
    [['--url', 'x'], /--url x: give a URL/],
    [['-o', 'yaml'], /-o yaml: give json or text/],
  ])('%j is refused with a message', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
  });
});

it('odd bytes in the name of a process give valid JSON, valid labels and harmless text', async () => {
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'odd-'));
  const config = join(folder.path, 'config.yaml');
  writeFileSync(
    config,
    only({ packetloss: true }, { sinks: { stdout: {}, loki: { url: loki.url, batch: { age: '50ms' } } } }),
  );
  await using own = await AgentProcess.serve(['--config', config]);
  // The rule drops packets on output so that the event names the sending process.
  pair.b.netns.exec('nft add table inet o');
  pair.b.netns.exec('nft add chain inet o out {\u0020type\u0020filter hook output priority 0; }');
  pair.b.netns.exec('nft add rule inet o out udp dport 7002 counter drop');
  const program = `
import ctypes, socket, time
libc = ctypes.CDLL(None)
libc.prctl(15, b'a"b\\\\\\n\\t\\x1b[1m\\xff\\xc3', 0, 0, 0)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 4711))
print('ready')
while True:
    try: s.sendto(b'x', ('${pair.addressA.ipv4}', 7002))
    except PermissionError: pass
    time.sleep(0.2)
`;
  await using _process = await startPython(pair.b.netns, program);
  const name = 'a"b\\\n\t\u001b[1m\ufffd\ufffd';
  await eventually(() => {
    const mine = loki.records.filter(({ src }) => src?.endsWith(':4711'));
    expect(mine[0]?.['process']).toBe(name);
    const printed = own.stdout.split('\n').filter((line) => line.includes(':4711"') && line.endsWith('}'));
    expect(JSON.parse(printed[0] ?? '{}')).toMatchObject({ process: name });
  });
  const { stdout } = await run('--url', own.url ?? '', '--pod', pair.b.netns.name);
  expect(stdout).toContain(':4711');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the output must not contain control characters
  expect(stdout).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
});

it("the agent's own log goes to Loki, at the configured level, and follows the configuration", async () => {
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'log-'));
  const config = join(folder.path, 'config.yaml');
  const token = join(folder.path, 'token');
  writeFileSync(token, 'first\n');
  const write = (level: string, more: object = {}) =>
    writeFileSync(
      config,
      only({}, { log: { level, loki: { url: loki.url, tenant: 't', bearerTokenFile: token, ...more } } }),
    );
  write('info');
  await using own = await AgentProcess.serve(['--config', config]);
  const lines = () => loki.entries.filter(({ labels }) => labels['job'] === 'netsonde-agent').map(({ line }) => line);
  await eventually(() => expect(lines().join('\n')).toMatch(/serves on/));
  expect(loki.entries[0]?.labels).toMatchObject({ job: 'netsonde-agent', level: 'info' });
  expect(loki.requests[0]?.headers).toMatchObject({ authorization: 'Bearer first', 'x-scope-orgid': 't' });
  writeFileSync(token, 'second\n');
  write('error');
  await eventually(async () => expect(await own.json('/api/v1/config')).toMatchObject({ generation: 2 }));
  const key = '"a\\n2026-01-01T00:00:00.000Z info forged\\e[2J"';
  writeFileSync(config, `${key}: 1\n${key}: 2\n`);
  await eventually(() => expect(lines().join('\n')).toMatch(/the new configuration is not applied:\n.*is given twice/));
  // The parser's own error handling would take minutes for this text.
  writeFileSync(config, '}'.repeat(100_000));
  await eventually(() => expect(lines().join('\n')).toMatch(/there are more errors/));
  for (const text of [own.stderr, lines().join('\n')]) {
    expect(text).not.toMatch(/^2026-01-01T00:00:00\.000Z/m);
    expect(text).not.toContain('\u001b');
  }
  expect(own.stderr).not.toMatch(/configuration 2 applied/);
  expect(loki.requests.at(-1)?.headers.authorization).toBe('Bearer second');
  write('info', { url: 'http://127.0.0.1:1' });
  await eventually(() => expect(own.stderr).toMatch(/log lines do not reach loki: .*ECONNREFUSED/));
  own.signal('SIGTERM');
  expect(await own.exited).toEqual({ code: 0, signal: null });
});
