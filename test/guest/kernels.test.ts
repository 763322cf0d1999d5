import { describe, expect, it } from 'vitest';
import { newestPackages } from './kernels.ts';

describe('newestPackages', () => {
  it('takes the highest release, not the last name, and the unsigned image if one exists', () => {
    const names = [
      'linux-image-6.1.0-56-amd64',
      'linux-image-6.1.0-56-amd64-unsigned',
      'linux-image-6.1.0-9-amd64-unsigned',
      'linux-image-6.12.94+deb13-amd64-unsigned',
    ];
    expect(newestPackages(names, '6.1.', 'amd64')).toEqual(['linux-image-6.1.0-56-amd64-unsigned']);
    expect(newestPackages(names, '', 'amd64')).toEqual(['linux-image-6.12.94+deb13-amd64-unsigned']);
  });

  it('takes both parts of a split kernel, and leaves out one with a part missing', () => {
    const names = [
      'linux-image-7.2.13+deb14-amd64',
      'linux-binary-7.2.13+deb14-amd64',
      'linux-modules-7.2.13+deb14-amd64',
      'linux-modules-7.3.4+deb14-amd64',
    ];
    expect(newestPackages(names, '', 'amd64')).toEqual([
      'linux-binary-7.2.13+deb14-amd64',
      'linux-modules-7.2.13+deb14-amd64',
    ]);
  });

  it('takes the kernel of the architecture, with pages of 4 KiB', () => {
    const names = [
      'linux-image-6.12.118+deb13-amd64-unsigned',
      'linux-image-6.12.94+deb13-arm64-unsigned',
      'linux-image-6.12.118+deb13-arm64-16k-unsigned',
    ];
    expect(newestPackages(names, '6.12.', 'arm64')).toEqual(['linux-image-6.12.94+deb13-arm64-unsigned']);
  });

  it.each([
    'linux-image-6.1.0-56-cloud-amd64-unsigned',
    'linux-image-6.1.0-56-rt-amd64',
    'linux-image-6.1.0-56-amd64-dbg',
    'linux-image-6.1-amd64',
    'linux-image-amd64',
    'linux-image-6.10.0-1-amd64',
  ])('does not mistake %s for a kernel 6.1', (name) => {
    expect(() => newestPackages([name], '6.1.', 'amd64')).toThrow('the mirror has no kernel 6.1.');
  });
});
