/** What sinks can be sent. A configuration names them in `sinks.<name>.kinds`. */
export const KINDS = ['event'] as const;
export type Kind = (typeof KINDS)[number];
