import { render } from 'preact';
import { App } from './app.tsx';
import { formatPlace, type Place, parsePlace } from './location.ts';
import { Store } from './store.ts';

const root = document.getElementById('page');
let place = parsePlace(location.hash);
/** Last state of each tab. */
const places = new Map([[place.tab, place]]);
const store = new Store(place.tab, draw);

function draw(): void {
  if (root !== null) render(<App store={store} place={place} places={places} filter={filter} />, root);
}

function go(to: Place): void {
  place = to;
  places.set(to.tab, to);
}

function filter(filters: Place['filters']): void {
  go({ ...place, filters: { ...place.filters, ...filters } });
  history.replaceState(null, '', formatPlace(place));
  draw();
}

addEventListener('hashchange', () => {
  go(parsePlace(location.hash));
  store.tab = place.tab;
  draw();
});
