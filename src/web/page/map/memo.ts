import { Component, type JSX } from 'preact';

/**
 * Returns a component that is redrawn only if one of its properties has changed. With a thousand lines, comparing their
 * complete content would take longer than a frame.
 */
export function memo<P extends object>(draw: (props: P) => JSX.Element): new (props: P) => Component<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const before = this.props as Readonly<Record<string, unknown>>;
      return Object.entries(next).some(([name, value]) => before[name] !== value);
    }

    override render(): JSX.Element {
      return draw(this.props);
    }
  };
}
