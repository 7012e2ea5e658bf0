import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Context, processContext } from './context.ts';
import { writeRunState } from './runstate.ts';
import { askAdmin, findTarget } from './target.ts';

let context: Context;
beforeEach(() => {
  context = { ...processContext(), runtimeFolder: mkdtempSync(join(tmpdir(), 'target-test-')) };
});
afterEach(() => rmSync(context.runtimeFolder, { recursive: true }));

const run = (name: string, port: number) =>
  writeRunState(context.runtimeFolder, {
    name,
    pid: process.pid,
    url: `http://127.0.0.1:${port}`,
    adminUrl: `http://127.0.0.1:${port + 1}`,
  });
const any = { router: null, name: null };

describe('findTarget', () => {
  it('takes the only one, the named one, or the one at the address', () => {
    run('a', 1000);
    expect(findTarget(any, context)).toEqual({ ok: true, name: 'a', adminUrl: 'http://127.0.0.1:1001' });
    run('b', 2000);
    expect(findTarget({ ...any, name: 'b' }, context)).toMatchObject({ adminUrl: 'http://127.0.0.1:2001' });
    expect(findTarget({ ...any, router: 'http://127.0.0.1:1000/v1' }, context)).toMatchObject({
      name: 'a',
      adminUrl: 'http://127.0.0.1:1001',
    });
    expect(findTarget({ ...any, router: 'http://10.0.0.1:9' }, context)).toMatchObject({ adminUrl: 'http://10.0.0.1:9' });
  });

  it('says what to do when there is none, several, or not that one', () => {
    expect(findTarget(any, context)).toMatchObject({ ok: false, message: expect.stringContaining('nothing runs here') });
    run('a', 1000);
    expect(findTarget({ ...any, name: 'c' }, context)).toMatchObject({ message: 'no deployment named "c" runs here; there is: a' });
    run('b', 2000);
    expect(findTarget(any, context)).toMatchObject({ message: expect.stringMatching(/say which with --name.*\n {2}a {2}http.*\n {2}b /) });
    expect(findTarget({ ...any, router: 'nonsense' }, context)).toMatchObject({
      message: expect.stringContaining('"nonsense" is no address'),
    });
  });
});

it('tells when nothing answers', async () => {
  expect(await askAdmin('http://127.0.0.1:9999', '/admin/top')).toMatchObject({
    ok: false,
    status: null,
    message: expect.stringContaining('ECONNREFUSED'),
  });
});
