import { render } from 'preact';
import { App } from './app.tsx';
import { formatPlace, type Place, parsePlace } from './location.ts';
import { Store } from './store.ts';

const root = document.getElementById('page');
let place = parsePlace(location.hash);
const store = new Store(place.tab, draw);

function draw(): void {
  if (root !== null) render(<App store={store} place={place} filter={filter} />, root);
}

function filter(filters: Place['filters']): void {
  place = { ...place, filters: { ...place.filters, ...filters } };
  history.replaceState(null, '', formatPlace(place));
  draw();
}

addEventListener('hashchange', () => {
  place = parsePlace(location.hash);
  store.tab = place.tab;
  draw();
});
