import { describe, expect, it } from 'vitest';
import { kubernetesUse } from './mode.ts';

const POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1', HOME: '/nowhere' };

describe('the Kubernetes API', () => {
  it('is used in a Pod with a service account', () => {
    expect(kubernetesUse('auto', POD, true)).toEqual({ asked: true, trouble: undefined });
    expect(kubernetesUse('on', POD, true)).toEqual({ asked: true, trouble: undefined });
    expect(kubernetesUse('auto', {}, true)).toEqual({ asked: false, trouble: undefined });
    expect(kubernetesUse('off', POD, false)).toEqual({ asked: false, trouble: undefined });
  });

  it('is reported as missing in a Pod without a token, with a remedy', () => {
    const { asked, trouble } = kubernetesUse('auto', POD, false);
    expect(asked).toBe(false);
    expect(trouble).toMatch(/automountServiceAccountToken: true .*--kubernetes off/);
    expect(() => kubernetesUse('on', POD, false)).toThrow('no service account is mounted');
  });
});
