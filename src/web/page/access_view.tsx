import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Refusal } from './api.ts';
import type { Store } from './store.ts';

interface Props {
  readonly store: Store;
  readonly refusal: Extract<Refusal, { kind: 'token' | 'forbidden' }>;
}

/** Tells the user how to get access if the agent refuses this browser. */
export function AccessView({ store, refusal }: Props): JSX.Element {
  return (
    <main class="access">
      <h2>{refusal.kind === 'token' ? 'The agent requires a token' : 'The agent does not serve this address'}</h2>
      <p>
        This page shows addresses and process names, so the agent serves its data only to its own machine and to clients
        with its token.
      </p>
      {refusal.kind === 'token' ? <TokenForm store={store} wasWrong={refusal.given} /> : <Forbidden {...refusal} />}
      <h3>Using a tunnel</h3>
      <p>In a cluster, no token is needed if you may forward ports:</p>
      <pre>kubectl -n netsonde port-forward pod/NAME 9102:9102</pre>
      <p>
        NAME is the name of the agent's Pod on the node: <code>kubectl -n netsonde get pods -o wide</code>. Then open{' '}
        <code>http://localhost:9102/</code>. For a machine without Kubernetes:{' '}
        <code>ssh -L 9102:localhost:9102 MACHINE</code>.
      </p>
    </main>
  );
}

function Forbidden({ message }: { message: string }): JSX.Element {
  return (
    <p>
      Response of the agent: <q>{message}</q>
    </p>
  );
}

function TokenForm({ store, wasWrong }: { store: Store; wasWrong: boolean }): JSX.Element {
  const [token, setToken] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        store.token = token.trim();
      }}
    >
      {wasWrong && (
        <p class="bad" role="alert">
          The token is wrong.
        </p>
      )}
      <label for="token">Token</label>
      <input
        id="token"
        type="password"
        autocomplete="off"
        value={token}
        onInput={(event) => setToken(event.currentTarget.value)}
      />
      <button type="submit" disabled={token.trim() === ''}>
        Open
      </button>
      <p class="quiet">
        The token is the content of the file set with <code>--api-token-file</code>, usually from a Secret. The browser
        keeps it until this tab is closed.
      </p>
    </form>
  );
}
