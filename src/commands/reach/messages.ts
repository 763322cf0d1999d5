import type { Trial } from '#why/evidence.ts';

/** Instructions for a trial. */
export interface TrialPlan {
  /** Path of the namespace of the client; undefined for that of this process. */
  readonly netns: string | undefined;
  readonly host: string;
  /** 0 for ICMP. */
  readonly port: number;
  readonly protocol: Trial['protocol'];
  /** Text of the client's resolv.conf and hosts. */
  readonly resolver: string;
  readonly hosts: string;
  /** Certificates of the authorities that the client trusts, in addition to those of Node.js. */
  readonly authorities: string | undefined;
  readonly tls: boolean;
  readonly httpPath: string | undefined;
  /** Number of bytes to send; undefined for a minimum. */
  readonly size: number | undefined;
  readonly timeoutMs: number;
  /** Port of the client; chosen by the trial if it is undefined. */
  readonly localPort?: number | undefined;
}

/** Counters of the client's namespace, such as `TcpExt.ListenOverflows`. */
export type Counts = Readonly<Record<string, number>>;

/** Messages of the trial's thread. */
export type FromTrial =
  | { readonly kind: 'step'; readonly text: string }
  /** The name has been resolved, and nothing was sent to the server yet. The thread waits for `go`. */
  | { readonly kind: 'ready'; readonly ip: string | undefined; readonly local: string | undefined }
  | { readonly kind: 'done'; readonly trial: Trial; readonly grown: Counts }
  /** The trial could not be carried out. */
  | { readonly kind: 'impossible'; readonly message: string; readonly lacksRight: boolean };
