import { PeerPrivacy } from '#core/privacy.ts';
import { withoutPeer } from '#probe/edge_labels.ts';
import type { SampleLabels } from './sample.ts';

/** Labels of edges, without the peers that rules of `privacy` hide. */
export class HiddenPeers extends PeerPrivacy {
  /** Labels without the peer, by the labels with it. The same object for the same labels saves a look-up later. */
  readonly #labels = new WeakMap<SampleLabels, SampleLabels>();

  /**
   * Returns the labels to show.
   * @param namespace namespace of the entity; null if it is unknown
   * @param ofPeer namespace of the peer; empty if it has none
   */
  labelsOf(namespace: string | null, ofPeer: string, labels: SampleLabels): SampleLabels {
    if (!this.hides(namespace, ofPeer)) return labels;
    let hidden = this.#labels.get(labels);
    if (hidden === undefined) {
      hidden = withoutPeer(labels);
      this.#labels.set(labels, hidden);
    }
    return hidden;
  }
}
