import { testPatterns } from '../support/orderly/suite.ts';

// All patterns are tested in test/soak/orderly.test.ts.
testPatterns(({ often }) => often === true);
