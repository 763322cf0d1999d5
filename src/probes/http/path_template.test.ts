import { deepEqual, equal, ok } from 'node:assert/strict';
import * as fc from 'fast-check';
import { it } from 'vitest';
import { pathTemplate } from './path_template.ts';

it('replaces what looks like an identifier, and keeps words', () => {
  const templates = {
    '/': '/',
    '/cart': '/cart',
    '/users/17/orders/2024-01-02': '/users/*/orders/*',
    '/users/6f9619ff-8b86-d011-b42d-00cf4fc964ff/': '/users/*/',
    '/blobs/9f86d081884c7d659a2feaa0c55ad015': '/blobs/*',
    '/facade/decade': '/facade/decade',
    '/v1/api': '/v1/api',
    '/search?q=secret': '/search',
    '/page#part': '/page',
    'http://shop.example:8080/cart?x': '/cart',
    'http://shop.example': '/',
    '*': '*',
    'peer:443': 'peer:443',
    '/a/b/c/d/e/f/g/h/i/j': '/a/b/c/d/e/f/g/h/…',
    [`/${'x'.repeat(25)}/y`]: '/*/y',
  };
  deepEqual(
    Object.fromEntries(Object.keys(templates).map((target) => [target, pathTemplate(target, false)])),
    templates,
  );
});

it('does not show the segment at which a target was cut, unless that is in the query', () => {
  equal(pathTemplate('/users/secr', true), '/users/*');
  equal(pathTemplate('/users/name?token=secr', true), '/users/name');
});

it('shows neither a query nor a long path', () => {
  fc.assert(
    fc.property(fc.string(), fc.boolean(), (target, isCut) => {
      const template = pathTemplate(target, isCut);
      ok(!/[?#]/.test(template));
      ok(template.split('/').length <= 10);
    }),
  );
});
