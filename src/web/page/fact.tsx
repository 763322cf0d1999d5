import type { ComponentChildren, JSX } from 'preact';

/** An entry of a description list: a name and its value. */
export function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="value">{children}</dd>
    </div>
  );
}
