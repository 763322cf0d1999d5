import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { BpfError, BpfObject } from '../lib/index.ts';
import { loadObject, openObject } from './support/objects.ts';

const ENOENT = 2;
const EPERM = 1;
const EACCES = 13;
const EBUSY = 16;
const EINVAL = 22;
const ERANGE = 34;
const EOPNOTSUPP = 95;

async function failureOf(work: () => unknown): Promise<BpfError> {
  const failure: unknown = await Promise.resolve()
    .then(work)
    .catch((error: unknown) => error);
  if (failure instanceof BpfError) return failure;
  throw new Error(`expected a BpfError, got ${failure}`);
}

describe('open', () => {
  it('names a missing file', async () => {
    const failure = await failureOf(() => BpfObject.open('/no/such/file.bpf.o'));
    expect(failure).toMatchObject({ code: 'BPF_OPEN', operation: 'open', errno: ENOENT });
    expect(failure.message).toContain('/no/such/file.bpf.o: No such file or directory');
  });

  it.each(['/etc/passwd', process.execPath])('says that %s is not a BPF object', async (path) => {
    const failure = await failureOf(() => BpfObject.open(path));
    expect(failure).toMatchObject({ code: 'BPF_OPEN', errno: 0, subject: path });
    expect(failure.message).toMatch(/object format invalid.*not a (proper ELF|valid eBPF) object/i);
  });
});

describe('choosePrograms and map', () => {
  it('refuse a name that the object does not have', async () => {
    using object = await openObject('maps', []);
    expect(await failureOf(() => object.choosePrograms(['fill', 'nobody']))).toMatchObject({
      code: 'BPF_OPEN',
      subject: 'nobody',
    });
    expect(await failureOf(() => object.map('nobody'))).toMatchObject({ code: 'BPF_MAP', subject: 'nobody' });
  });
});

describe('setVariable', () => {
  const refused: [string, string, number | bigint | Uint8Array, number][] = [
    ['an unknown variable', 'nobody', 1, ENOENT],
    ['a number that is too large', 'small', 256, ERANGE],
    ['a number that is too large for 64 bits', 'value_base', 2n ** 64n, ERANGE],
    ['a negative number', 'key_step', -1, ERANGE],
    ['a number for an array', 'label', 1, EINVAL],
    ['too few bytes', 'label', new Uint8Array(11), EINVAL],
    ['too many bytes', 'label', new Uint8Array(13), EINVAL],
  ];
  it.each(refused)('refuses %s', async (_what, name, value, errno) => {
    using object = await openObject('maps', ['constant']);
    expect(await failureOf(() => object.setVariable(name, value))).toMatchObject({ code: 'BPF_OPEN', errno });
  });

  it('refuses a constant, and values out of range, after the load', async () => {
    using object = await loadObject('maps', ['constant']);
    expect(await failureOf(() => object.setVariable('small', 7))).toMatchObject({ code: 'BPF_OPEN', errno: EBUSY });
    expect(await failureOf(() => object.setVariable('limit', 2n ** 64n))).toMatchObject({ errno: ERANGE });
    expect(await failureOf(() => object.setVariable('ports', new Uint8Array(3)))).toMatchObject({ errno: EINVAL });
  });
});

describe('load', () => {
  it('says why the verifier refused a program', async () => {
    using object = await openObject('verifier', ['refusable']);
    object.setVariable('read_out_of_bounds', true);
    const failure = await failureOf(() => object.load());
    expect(failure).toMatchObject({ code: 'BPF_VERIFIER', operation: 'load', errno: EACCES });
    expect(failure.verifier.join('\n')).toContain('invalid access to map value, value_size=8 off=32 size=8');
    expect(failure.verifier.length).toBeLessThanOrEqual(3);
    expect(failure.message).toContain(failure.verifier.at(-1));
    expect(failure.log).toContain('-- BEGIN PROG LOAD LOG --');
  });

  it('accepts the same program if the constant rules the bad branch out', async () => {
    using object = await openObject('verifier', ['refusable']);
    object.setVariable('read_out_of_bounds', false);
    await expect(object.load()).resolves.toBeUndefined();
  });

  it('does not blame the memory lock limit if the kernel allows no such program', async (context) => {
    using object = await openObject('hooks', ['function_hook']);
    const failure = await failureOf(() => object.load()).catch(() => undefined);
    if (failure === undefined) context.skip('this kernel loads fentry programs');
    expect(failure).toMatchObject({ code: 'BPF_LOAD', errno: EPERM, verifier: [] });
    expect(failure?.message).toContain('gave no reason');
    expect(failure?.message).not.toMatch(/ulimit|memlock/i);
  });

  it('names a hook that this kernel does not have', async () => {
    using object = await openObject('hooks', ['no_such_hook']);
    const failure = await failureOf(() => object.load());
    expect(failure.code).toBe('BPF_LOAD');
    expect(failure.message).toContain("'no_such_tracepoint'");
  });

  it('refuses a second load', async () => {
    using object = await loadObject('maps', ['fill']);
    expect(await failureOf(() => object.load())).toMatchObject({ code: 'BPF_LOAD', errno: EINVAL });
  });
});

describe('attach and run', () => {
  it('refuse a program without a hook', async () => {
    using object = await loadObject('hooks', ['no_hook']);
    const failure = await failureOf(() => object.attach('no_hook'));
    expect(failure).toMatchObject({ code: 'BPF_ATTACH', operation: 'attach', subject: 'no_hook', errno: EOPNOTSUPP });
  });

  it('refuse a program that was not chosen, or does not exist', async () => {
    using object = await loadObject('hooks', ['no_hook']);
    expect(await failureOf(() => object.attach('count_exec'))).toMatchObject({ code: 'BPF_ATTACH', errno: EINVAL });
    expect(await failureOf(() => object.attach('nobody'))).toMatchObject({ code: 'BPF_ATTACH', errno: ENOENT });
    expect(await failureOf(() => object.run('nobody', new BigUint64Array()))).toMatchObject({ code: 'BPF_RUN' });
  });

  it('refuse more arguments than the kernel takes', async () => {
    using object = await loadObject('maps', ['fill']);
    expect(() => object.run('fill', new BigUint64Array(12))).not.toThrow();
    expect(await failureOf(() => object.run('fill', new BigUint64Array(13)))).toMatchObject({
      code: 'BPF_RUN',
      errno: EINVAL,
    });
  });
});

it('reports that the addon is not built', async () => {
  const folder = await mkdtemp(join(tmpdir(), `bpf-napi-${process.pid}-`));
  try {
    await cp(join(import.meta.dirname, '../lib'), join(folder, 'lib'), { recursive: true });
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
    const script = `import { BpfObject, unavailable } from '${folder}/lib/index.ts';
      const failure = await BpfObject.open('any').catch((error) => error);
      console.log(JSON.stringify([failure.name, failure.code, unavailable()]));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
    expect(JSON.parse(stdout)).toEqual(['BpfError', 'BPF_UNAVAILABLE', expect.stringContaining('was not built')]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
