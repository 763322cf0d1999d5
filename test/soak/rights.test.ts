import { testRights } from '../support/rights/losses.ts';

testRights(new Set());
