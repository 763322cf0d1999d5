import { expect, it } from 'vitest';
import { describeHiding } from './hidden_processes.ts';

const OTHER = '22 1 0:21 / /sys rw,nosuid - sysfs sysfs rw,hidepid=2';

function mountOf(options: string, path = '/proc'): string {
  return `${OTHER}\n23 1 0:22 / ${path} rw,nosuid,relatime shared:5 - proc proc ${options}\n`;
}

it.each([
  ['rw,hidepid=2', [65_532], 'hidepid=2'],
  ['rw,hidepid=invisible', [65_532], 'hidepid=invisible'],
  ['rw,gid=50,hidepid=1', [0, 65_532], 'hidepid=1'],
  ['rw,hidepid=ptraceable', [0], 'hidepid=ptraceable'],
])('%s for the groups %j hides the processes of Pods', (options, groups, named) => {
  expect(describeHiding(mountOf(options), '/proc', groups)).toMatch(
    new RegExp(`^/proc is mounted with ${named}, so .*CAP_SYS_PTRACE$`),
  );
});

it.each([
  ['rw', [65_532]],
  ['rw,hidepid=off', [65_532]],
  ['rw,hidepid=2', [0]],
  ['rw,gid=50,hidepid=2', [50]],
])('%s for the groups %j hides nothing', (options, groups) => {
  expect(describeHiding(mountOf(options), '/proc', groups)).toBeUndefined();
});

it('only the last mount on the path counts', () => {
  expect(describeHiding(mountOf('rw,hidepid=2') + mountOf('rw'), '/proc', [1])).toBeUndefined();
  expect(describeHiding(mountOf('rw,hidepid=2', '/host/proc'), '/proc', [1])).toBeUndefined();
});
