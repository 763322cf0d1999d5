import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { AgentWithout } from '../support/agent_without.ts';
import { startPython, TestNetns } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';
import { ReachBed, SERVER } from '../support/reach/bed.ts';
import { IN_SAMPLE } from '../support/reach/in_sample.ts';
import { runReach, runScenario } from '../support/reach/run_scenario.ts';

/** Two scenarios that take little time. All of them run in `npm run test:soak`. */
const QUICK = ['dropped at the router', 'HTTP 503'];

let closedPort = 8100;
let bed: ReachBed;
let agent: AgentProcess;

beforeAll(async () => {
  bed = await ReachBed.open();
  agent = await AgentProcess.serve();
  await eventually(async () => {
    const { entities } = await agent.json<{ entities: readonly { pod: string }[] }>('/api/v1/entities');
    expect(entities.map(({ pod }) => pod)).toContain(bed.hosts.b.name);
  });
});
afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

const url = () => ['--url', agent.url ?? ''];
const client = () => ['--netns', bed.hosts.a.name];

describe('reach', () => {
  it.each(IN_SAMPLE.filter(({ name }) => QUICK.includes(name)))('$name', async (scenario) => {
    const { verdict, code } = await runScenario(
      bed,
      { ...scenario, args: [...scenario.args, '--timeout', '2s'] },
      url(),
    );
    expect([verdict.cause, verdict.sure]).toEqual([scenario.cause, scenario.sure]);
    expect(code).toBe(scenario.cause === 'reached' ? 0 : 1);
  });

  it('tests the path of the client, and not that of this process', async () => {
    // Only this namespace has a server at this address, and the process that runs the command is not in it.
    using other = new TestNetns();
    other.ip('link set lo up');
    other.ip('addr add 10.231.0.1/32 dev lo');
    await using _ = await startPython(
      other,
      "import socket\nserver = socket.create_server(('10.231.0.1', 8080))\nprint('ready')\nserver.accept()[0].recv(1)",
    );
    const inside = await runReach(['--netns', other.name, '--to', '10.231.0.1:8080', ...url()]);
    expect(inside).toMatchObject({ code: 0, stdout: expect.stringContaining('=> seen: reached: ') });
    // The bed's client has no route to that address but its default one, and its router has none.
    const outside = await runReach([...client(), '--to', '10.231.0.1:8080', ...url()]);
    expect(outside).toMatchObject({ code: 1, stdout: expect.stringContaining('=> seen: no_route: ') });
  });

  it('counts only its own packets, although the agent folds them with those of earlier connections', async () => {
    // Another port starts another window in a retry.
    const port = ++closedPort;
    const refused = `import socket
for _ in range(5):
    assert socket.socket().connect_ex(('${SERVER}', ${port})) == 111`;
    bed.exec('a', `python3 -c "${refused}"`);
    const { stdout } = await runReach([...client(), '--to', `${SERVER}:${port}`, ...url()]);
    expect(stdout).toMatch(/ 1 × packet_drop at /);
    expect(stdout).toContain('nothing listens on the port: 1 packet of the client dropped at ');
  });

  it('resolves names as the client would: its servers and its search list, with TCP for long responses', async () => {
    const { stdout, code } = await runReach([...client(), '--to', 'long:8080', ...url()]);
    expect([code, stdout]).toEqual([0, expect.stringContaining('long.shop.svc.test is 10.230.2.2')]);
  });

  it('without an agent, it says what the client experienced, and that nobody was asked', async () => {
    const gone = ['--api-socket', '/nonexistent/api.sock'];
    const { stdout, code } = await runReach([...client(), '--to', `${SERVER}:8081`, ...gone]);
    expect(code).toBe(1);
    expect(stdout).toContain('without the agent at /nonexistent/api.sock: cannot connect to the agent');
    expect(stdout).toMatch(/=> inferred: refused: a reset refuses the connection/);
  });

  it('leaves an event on the client', async () => {
    await runReach([...client(), '--to', `${SERVER}:8080`, '--http', '/once', ...url()]);
    const response = await agent.get('/api/v1/events?type=tool_used&follow=false', { accept: 'application/x-ndjson' });
    const last = JSON.parse((await response.text()).trim().split('\n').at(-1) ?? '');
    expect(last).toMatchObject({
      pod: bed.hosts.a.name,
      command: 'reach',
      request: `tcp to ${SERVER}:8080, HTTP /once`,
    });
  });

  it('shows control characters of a server as text', async () => {
    const { stdout, code } = await runReach([...client(), '--to', `${SERVER}:8080`, '--http', '/hostile', ...url()]);
    expect([code, stdout]).toEqual([1, expect.stringMatching(/=> seen: http_status: .* 503 red /)]);
    expect(stdout.replace(/[\n\x20-\x7e\u00a1-\uffff]/g, '')).toBe('');
  });

  it('works with an agent that has no counters, as earlier versions do, and says so', async () => {
    await using old = await AgentWithout.open('/api/v1/counters', agent.url ?? '');
    const { stdout, code } = await runReach([...client(), '--to', `${SERVER}:8081`, '--url', old.url]);
    expect([code, stdout]).toEqual([1, expect.stringContaining('=> seen: refused: ')]);
    expect(stdout).toMatch(/without the counters of the agent on .*404/);
  });

  it('continues if the process of the client ends in the middle', async () => {
    bed.rule('q', 'forward', 'tcp dport 8090 drop');
    try {
      await using program = await startPython(bed.hosts.a, "import time\nprint('ready')\ntime.sleep(60)");
      const ended = runReach(['--pid', String(program.pid), '--to', `${SERVER}:8090`, ...url()]);
      await eventually(async () => {
        const type = { accept: 'application/x-ndjson' };
        const response = await agent.get('/api/v1/events?type=packet_drop&follow=false', type);
        expect(await response.text()).toContain(`"dst":"${SERVER}:8090"`);
      });
      await program[Symbol.asyncDispose]();
      expect(await ended).toMatchObject({ code: 1, stdout: expect.stringContaining('=> seen: firewall: ') });
    } finally {
      bed.exec('q', 'nft flush ruleset');
    }
  });

  it('tells a full queue of incomplete connections from a full accept queue', async () => {
    const port = 8093;
    const counted = (name: string) => Number(bed.exec('b', `nstat -asz ${name}`).trim().split(/\s+/).at(-2));
    bed.exec('b', 'sysctl -qw net.ipv4.tcp_syncookies=0');
    // The router never completes its own connections to the server.
    bed.rule('q', 'input', `tcp sport ${port} drop`);
    try {
      const listens = `import socket, time
server = socket.create_server(('${SERVER}', ${port}), backlog=4)
print('ready')
time.sleep(600)`;
      await using _server = await startPython(bed.hosts.b, listens);
      const opens = `import socket, time
clients = [socket.socket() for _ in range(16)]
for client in clients:
    client.setblocking(False)
    client.connect_ex(('${SERVER}', ${port}))
print('ready')
time.sleep(600)`;
      await using _clients = await startPython(bed.hosts.q, opens);
      await eventually(() => expect(counted('TcpExtTCPReqQFullDrop')).toBeGreaterThan(0));
      const { stdout, code } = await runReach([...client(), '--to', `${SERVER}:${port}`, ...url()]);
      expect([code, stdout]).toEqual([
        1,
        expect.stringMatching(/=> inferred: syn_queue: port 8093 of the server .*Drops/),
      ]);
    } finally {
      bed.exec('b', 'sysctl -qw net.ipv4.tcp_syncookies=1');
      bed.exec('q', 'nft flush ruleset');
    }
  });

  it('sends echo requests', async () => {
    const { stdout, code } = await runReach([...client(), '--to', SERVER, '--icmp', ...url()]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/ICMP: reply after .* ms\n/)]);
  });
});

describe('what cannot be tried has the exit code 2, and a message', () => {
  it.each([
    [['--netns', 'no-such-netns', '--to', '10.0.0.1:1'], [], 'netsonde: --netns no-such-netns: no such namespace'],
    [['--from', 'no/such', '--to', '10.0.0.1:1'], [], 'netsonde: no/such: the agent knows no such Pod on its node'],
    [['--pid', '4194000', '--to', '10.0.0.1:1'], [], 'netsonde: process 4194000 does not exist'],
  ])('%j', async (args, wrapper, message) => {
    const { code, stderr } = await runReach([...args, ...url()], {}, wrapper);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it('needs no right but to enter the namespace, and to send echo requests', async () => {
    const only = (rights: string) => ['setpriv', `--bounding-set=-all,${rights}`, `--inh-caps=-all`];
    const connects = await runReach([...client(), '--to', `${SERVER}:8080`, ...url()], {}, only('+sys_admin'));
    expect([connects.code, connects.stderr]).toEqual([0, '']);
    const pings = await runReach([...client(), '--to', SERVER, '--icmp', ...url()], {}, only('+sys_admin'));
    expect([pings.code, pings.stderr]).toEqual([2, expect.stringContaining('CAP_NET_RAW is needed')]);
    const may = await runReach([...client(), '--to', SERVER, '--icmp', ...url()], {}, only('+sys_admin,+net_raw'));
    expect([may.code, may.stderr]).toEqual([0, '']);
  });

  it('without the right to see the process of the client', async () => {
    const wrapper = ['setpriv', '--bounding-set=-all,+sys_admin', '--inh-caps=-all'];
    const args = ['--pid', String(process.pid), '--to', 'web:80', ...url()];
    const { code, stderr } = await runReach(args, {}, wrapper);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/needs CAP_SYS_PTRACE.*set `tools`/s)]);
  });

  it('without the right to enter the namespace', async () => {
    const wrapper = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin', '--reuid=0', '--clear-groups'];
    const { code, stderr } = await runReach([...client(), '--to', `${SERVER}:80`, ...url()], {}, wrapper);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/CAP_SYS_ADMIN is needed.*set `tools`/s)]);
  });
});
