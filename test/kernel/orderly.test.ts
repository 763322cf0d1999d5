import { testPatterns } from '../support/orderly/suite.ts';

// All of them: test/soak/orderly.test.ts.
testPatterns(({ often }) => often === true);
