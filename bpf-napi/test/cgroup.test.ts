import { execFile } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCgroup } from './support/cgroup.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, OBJECTS, openObject } from './support/objects.ts';
import { countsOf } from './support/packets.ts';

const ENOENT = 2;
const EPERM = 1;
const EBADF = 9;
const EINVAL = 22;
const ENOTDIR = 20;

let namespace: TestNamespace;
let cgroup: TestCgroup;
let other: TestCgroup;
beforeAll(() => {
  namespace = new TestNamespace();
  namespace.batch('link set lo up');
  cgroup = new TestCgroup();
  other = new TestCgroup();
});
afterAll(() => {
  for (const each of [cgroup, other, namespace]) each[Symbol.dispose]();
});
expectNothingLeft();

const PAIR = ['count_egress', 'count_ingress'];

describe('attachCgroup', () => {
  it('sees each packet of the cgroup in both directions, and none of another cgroup', async () => {
    using object = await loadObject('packets', PAIR);
    for (const program of PAIR) await object.attachCgroup(program, cgroup.path);
    cgroup.traffic(namespace, 10);
    expect(countsOf(object)).toMatchObject({ egress: 10, ingress: 10 });
    other.traffic(namespace, 10);
    expect(countsOf(object)).toMatchObject({ egress: 10, ingress: 10 });
  });

  it('accepts a descriptor, which may be closed immediately', async () => {
    using object = await loadObject('packets', PAIR);
    const fd = openSync(cgroup.path, 'r');
    const attached = object.attachCgroup('count_egress', fd);
    closeSync(fd);
    await attached;
    cgroup.traffic(namespace, 3);
    expect(countsOf(object)).toMatchObject({ egress: 3, ingress: 0 });
  });

  it('keeps other attachments: one program, two cgroups, two objects', async () => {
    using first = await loadObject('packets', PAIR);
    using second = await loadObject('packets', PAIR);
    await first.attachCgroup('count_egress', cgroup.path);
    await first.attachCgroup('count_egress', other.path);
    await second.attachCgroup('count_egress', cgroup.path);
    cgroup.traffic(namespace, 2);
    other.traffic(namespace, 3);
    expect([countsOf(first).egress, countsOf(second).egress]).toEqual([5, 2]);
  });
});

describe('its link', () => {
  it('removes only this attachment', async () => {
    using object = await loadObject('packets', PAIR);
    const egress = await object.attachCgroup('count_egress', cgroup.path);
    await object.attachCgroup('count_ingress', cgroup.path);
    expect(egress.program).toBe('count_egress');
    egress.close();
    egress.close();
    cgroup.traffic(namespace, 4);
    expect(countsOf(object)).toMatchObject({ egress: 0, ingress: 4 });
    await object.attachCgroup('count_egress', cgroup.path);
    egress.close();
    cgroup.traffic(namespace, 1);
    expect(countsOf(object)).toMatchObject({ egress: 1, ingress: 5 });
  });

  it('is closed at the end of the block that uses it, even during a load or an attach', async () => {
    using object = await loadObject('packets', PAIR);
    let attaching: Promise<unknown>;
    {
      using _link = await object.attachCgroup('count_egress', cgroup.path);
      attaching = object.attachCgroup('count_ingress', cgroup.path);
    }
    await attaching;
    cgroup.traffic(namespace, 2);
    expect(countsOf(object)).toMatchObject({ egress: 0, ingress: 2 });
  });

  it('ends with detach and with the object, and may be closed after them', async () => {
    const object = await loadObject('packets', PAIR);
    const first = await object.attachCgroup('count_egress', cgroup.path);
    object.detach();
    cgroup.traffic(namespace, 2);
    expect(countsOf(object).egress).toBe(0);
    const second = await object.attachCgroup('count_egress', cgroup.path);
    object.close();
    for (const link of [first, second]) expect(() => link.close()).not.toThrow();
  });

  it('also exists for other hooks', async () => {
    using object = await loadObject('hooks', ['count_exec']);
    const first = await object.attach('count_exec');
    await object.attach('count_exec');
    first.close();
    const count = () => {
      const value = new BigUint64Array(1);
      object.map('execs').lookup(new Uint8Array(4), new Uint8Array(value.buffer));
      return value[0] ?? 0n;
    };
    const before = count();
    await promisify(execFile)('true');
    expect(count()).toBeGreaterThan(before);
  });
});

describe('attachCgroup refuses', () => {
  it('a path that does not exist, a file, and a directory that is not a v2 cgroup', async () => {
    using object = await loadObject('packets', PAIR);
    const attach = (path: string | number) => object.attachCgroup('count_egress', path);
    await expect(attach('/no/such/cgroup')).rejects.toMatchObject({
      code: 'BPF_ATTACH',
      operation: 'attach',
      subject: '/no/such/cgroup',
      errno: ENOENT,
    });
    await expect(attach(join(cgroup.path, 'cgroup.procs'))).rejects.toMatchObject({
      code: 'BPF_ATTACH',
      errno: ENOTDIR,
    });
    await expect(attach('/proc')).rejects.toMatchObject({
      code: 'BPF_ATTACH',
      subject: 'count_egress',
      errno: EBADF,
      message: expect.stringContaining('/proc is not in a cgroup v2 hierarchy'),
    });
    await expect(attach(-1)).rejects.toMatchObject({ code: 'BPF_ATTACH', subject: 'descriptor -1', errno: EBADF });
  });

  it('a program of another type, even with its own hook', async () => {
    using object = await loadObject('packets', ['no_packet']);
    using hooks = await loadObject('hooks', ['count_exec']);
    const failure = {
      code: 'BPF_ATTACH',
      errno: EINVAL,
      message: expect.stringContaining('cannot be attached to a cgroup'),
    };
    await expect(object.attachCgroup('no_packet', cgroup.path)).rejects.toMatchObject(failure);
    await expect(hooks.attachCgroup('count_exec', cgroup.path)).rejects.toMatchObject(failure);
  });

  it('a program that is not loaded', async () => {
    using object = await openObject('packets', PAIR);
    await expect(object.attachCgroup('count_egress', cgroup.path)).rejects.toMatchObject({
      code: 'BPF_ATTACH',
      errno: EINVAL,
    });
  });

  it('beside or below a program that allows no other, and says which', async () => {
    using alone = await loadObject('packets', ['count_egress']);
    using object = await loadObject('packets', PAIR);
    using taken = new TestCgroup();
    using below = new TestCgroup(taken.path);
    const { id } = alone.programInfo('count_egress');
    taken.attachAlone(id);
    const refusal = (says: string) => ({
      code: 'BPF_ATTACH',
      errno: EPERM,
      message: expect.stringContaining(
        `${says}, which was attached without BPF_F_ALLOW_MULTI and allows no other program`,
      ),
    });
    const attach = (path: string) => object.attachCgroup('count_egress', path);
    await expect(attach(taken.path)).rejects.toMatchObject(refusal(`${taken.path} has the program ${id}`));
    await expect(attach(below.path)).rejects.toMatchObject(refusal(`a cgroup above ${below.path} has a program`));
    await expect(object.attachCgroup('count_ingress', taken.path)).resolves.toMatchObject({ program: 'count_ingress' });
  });

  it('without the capability, and says which', async () => {
    const script = `import { BpfObject } from '${join(import.meta.dirname, '../lib/index.ts')}';
      const object = await BpfObject.open('${OBJECTS}/packets.bpf.o');
      object.choosePrograms(['count_egress']);
      await object.load();
      const failure = await object.attachCgroup('count_egress', '${cgroup.path}').catch((error) => error);
      console.log(JSON.stringify([failure.code, failure.errno, failure.message]));
      object.close();`;
    const { stdout } = await promisify(execFile)('setpriv', [
      '--bounding-set=-sys_admin,-net_admin',
      '--inh-caps=-all',
      ...[process.execPath, '--no-warnings', '--input-type=module', '--eval', script],
    ]);
    expect(JSON.parse(stdout)).toEqual(['BPF_ATTACH', EPERM, expect.stringContaining('attaching needs CAP_NET_ADMIN')]);
  });
});

it('can be closed in an attach: the attach rejects and nothing stays', async () => {
  const object = await loadObject('packets', PAIR);
  const attach = object.attachCgroup('count_egress', cgroup.path);
  object.close();
  await expect(attach).rejects.toMatchObject({ code: 'BPF_CLOSED' });
});

it('leaves nothing behind after 100 rounds', async () => {
  using kept = await loadObject('packets', PAIR);
  for (let round = 0; round < 100; round++) {
    using _link = await kept.attachCgroup('count_ingress', cgroup.path);
    const object = await loadObject('packets', PAIR);
    await object.attachCgroup('count_egress', cgroup.path);
    object.close();
  }
  cgroup.traffic(namespace, 2);
  expect(countsOf(kept)).toMatchObject({ egress: 0, ingress: 0 });
});
