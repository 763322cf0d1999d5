import { testPatterns } from '../support/orderly/suite.ts';

testPatterns(() => true);
