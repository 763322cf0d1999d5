import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Refusal } from './api.ts';
import type { Store } from './store.ts';

interface Props {
  readonly store: Store;
  readonly refusal: Extract<Refusal, { kind: 'token' | 'forbidden' }>;
}

/** Shows what to do where the agent refuses this browser. */
export function AccessView({ store, refusal }: Props): JSX.Element {
  return (
    <main class="access">
      <h2>{refusal.kind === 'token' ? 'The agent asks for a token' : 'The agent does not serve this address'}</h2>
      <p>
        This page shows addresses and names of processes, so the agent serves its data only to its own machine, and to
        clients that have its token.
      </p>
      {refusal.kind === 'token' ? <TokenForm store={store} wasWrong={refusal.given} /> : <Forbidden {...refusal} />}
      <h3>By a tunnel</h3>
      <p>In a cluster, with the right to forward ports, no token is needed:</p>
      <pre>kubectl -n netsonde port-forward pod/NAME 9102:9102</pre>
      <p>
        NAME is that of the agent's Pod on the node: <code>kubectl -n netsonde get pods -o wide</code>. Then open{' '}
        <code>http://localhost:9102/</code>. To a machine without Kubernetes:{' '}
        <code>ssh -L 9102:localhost:9102 MACHINE</code>.
      </p>
    </main>
  );
}

function Forbidden({ message }: { message: string }): JSX.Element {
  return (
    <p>
      The agent’s answer: <q>{message}</q>.
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
        The token is the text in the file of <code>--api-token-file</code>, most often a Secret. The browser keeps it
        until this tab is closed.
      </p>
    </form>
  );
}
