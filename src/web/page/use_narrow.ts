import { useEffect, useState } from 'preact/hooks';

/** Same width as in phone.css. */
const NARROW = '(max-width: 900px)';

/** Returns whether the window is too narrow to show a picture next to its explanation. */
export function useNarrow(): boolean {
  const [isNarrow, setNarrow] = useState(() => matchMedia(NARROW).matches);
  useEffect(() => {
    const media = matchMedia(NARROW);
    const update = () => setNarrow(media.matches);
    media.addEventListener('change', update);
    return () => media.removeEventListener('change', update);
  }, []);
  return isNarrow;
}
