import type { Architecture } from './apt.ts';

/** How QEMU emulates a machine with one kind of processor. */
interface Machine {
  readonly emulator: string;
  /** Options of QEMU. */
  readonly given: Readonly<Record<string, string>>;
  /** Parameters of the kernel. */
  readonly append: string;
  /** Options that connect a second serial line to QEMU's output. The first one is the kernel's console. */
  readonly job: readonly string[];
  /** The guest's device for the second serial line. */
  readonly jobDevice: string;
}

const COMMON = {
  accel: 'tcg,thread=single',
  m: '1024',
  display: 'none',
  // A virtio-net device without a peer.
  netdev: 'hubport,hubid=0,id=nothing',
  device: 'virtio-net-pci,netdev=nothing,romfile=',
};
const PARAMETERS = 'quiet oops=panic panic=-1 mitigations=off';

export const MACHINES: Readonly<Record<Architecture, Machine>> = {
  amd64: {
    emulator: 'qemu-system-x86_64',
    // Emulating a newer CPU model takes a quarter more time, because of its wide registers and five-level page tables.
    given: { ...COMMON, cpu: 'Nehalem' },
    // On a busy machine, the kernel's check of its timer could fail, which would prevent it from booting.
    append: `console=ttyS0 ${PARAMETERS} no_timer_check`,
    job: ['-serial', 'stdio'],
    jobDevice: 'ttyS1',
  },
  arm64: {
    emulator: 'qemu-system-aarch64',
    // This CPU model has atomic instructions (LSE), as servers do, but no pointer authentication, which is slow to emulate.
    given: { ...COMMON, machine: 'virt,gic-version=3', cpu: 'neoverse-n1' },
    append: `console=ttyAMA0 ${PARAMETERS}`,
    // The machine has only one serial line of its own.
    job: ['-chardev', 'stdio,id=job', '-device', 'pci-serial,chardev=job'],
    jobDevice: 'ttyS0',
  },
};
