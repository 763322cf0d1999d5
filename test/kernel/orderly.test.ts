import { testPatterns } from '../support/orderly/suite.ts';

// Only some of the patterns run here. test/soak/orderly.test.ts runs all of them.
testPatterns(({ often }) => often === true);
