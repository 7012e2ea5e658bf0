import { describe, expect, it } from 'vitest';
import { readPublishedList } from './published.ts';

const INSTANCE = {
  id: 'decode-0',
  incarnation: 'i',
  role: 'decode',
  url: 'http://127.0.0.1:9',
  transfer: { host: '127.0.0.1', port: 10 },
  draining: false,
};

function list(change: object): unknown {
  return { generation: 1, model: 'm', instances: [{ ...INSTANCE, ...change }] };
}

describe('readPublishedList', () => {
  it('reads a list', () => {
    const good = { generation: 3, model: 'm', instances: [INSTANCE, { ...INSTANCE, id: 'p', role: 'prefill', draining: true }] };
    expect(readPublishedList(good)).toEqual(good);
    expect(readPublishedList({ generation: 0, model: 'm', instances: [] }).instances).toEqual([]);
  });

  it.each([
    [undefined, '`body` must be an object; it is missing'],
    [[], '`body` must be an object; got []'],
    [{ generation: 1, model: 'm' }, '`instances` must be an array of at most 1024; it is missing'],
    [{ generation: -1, model: 'm', instances: [] }, '`generation` must be an integer from 0 to'],
    [{ generation: 1, model: '', instances: [] }, '`model` must be a string of 1 to 256 characters; got ""'],
    [{ generation: 1, model: 'm', instances: [INSTANCE, INSTANCE] }, '`instances[1].id` must be unlike every other one; got "decode-0"'],
    [list({ id: 'a b' }), '`instances[0].id` must be 1 to 128 letters'],
    [list({ role: 'chef' }), '`instances[0].role` must be one of prefill, decode, mixed; got "chef"'],
    [list({ url: 'https://a:1' }), '`instances[0].url` must be a URL like http://host:port; got "https://a:1"'],
    [list({ url: 'http://u:p@a:1' }), '`instances[0].url` must be a URL'],
    [list({ url: 'http://a:1/path' }), '`instances[0].url` must be a URL'],
    [list({ url: 7 }), '`instances[0].url` must be a URL'],
    [list({ transfer: { host: 'h', port: 70_000 } }), '`instances[0].transfer.port` must be an integer from 1 to 65535; got 70000'],
    [list({ transfer: null }), '`instances[0].transfer` must be an object; got null'],
    [list({ draining: 'no' }), '`instances[0].draining` must be true or false; got "no"'],
    [list({ colour: 'red' }), '`instances[0]` must be an object of id, incarnation, role, url, transfer, draining; got {"colour":"…"}'],
  ])('refuses %j', (value, message) => {
    expect(() => readPublishedList(value)).toThrow(message);
  });
});
