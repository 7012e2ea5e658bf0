import { describe, expect, it } from 'vitest';
import { requestIdOf, saltOf, tenantOf } from './headers.ts';

const newId = () => 'fresh';

describe('requestIdOf', () => {
  it.each(['a', 'req_1.2:3-4', 'A'.repeat(128)])('keeps %s', (id) => {
    expect(requestIdOf({ 'x-request-id': id }, newId)).toBe(id);
  });

  it.each([undefined, '', 'A'.repeat(129), 'a b', 'a\r\nx: y', 'ä', '{}', '<script>'])('replaces %j', (id) => {
    expect(requestIdOf(id === undefined ? {} : { 'x-request-id': id }, newId)).toBe('fresh');
  });
});

describe('saltOf', () => {
  it('is empty unless a header is configured and sent', () => {
    expect(saltOf({ 'x-tenant-id': 'a' }, null)).toBe('');
    expect(saltOf({}, 'x-tenant-id')).toBe('');
    expect(saltOf({ 'x-tenant-id': 'a' }, 'x-tenant-id')).toBe('a');
  });

  it.each(['a b', 'é', 'x'.repeat(129), ['a', 'b']])('refuses %j rather than share KV', (value) => {
    expect(() => saltOf({ 'x-tenant-id': value }, 'x-tenant-id')).toThrow(/x-tenant-id/);
  });
});

describe('tenantOf', () => {
  it('is the salt, else the credential, else everybody', () => {
    expect(tenantOf({ authorization: 'Bearer k' }, 's')).toBe('s');
    expect(tenantOf({ authorization: 'Bearer k' }, '')).toBe('Bearer k');
    expect(tenantOf({}, '')).toBe('');
  });
});
