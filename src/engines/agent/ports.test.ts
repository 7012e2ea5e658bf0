import { expect, it } from 'vitest';
import { pickPorts, portsForServers } from './ports.ts';

it.each([
  ['32768\t60999\n', [20_768, 32_767]],
  ['10000 60000', [1_024, 9_999]],
  ['1024 60000', [60_001, 65_535]],
  ['1024 65535', [1_024, 65_535]],
])('chooses outside of %j', (range, expected) => expect(portsForServers(range)).toEqual(expected));

it('gives every port once, though nobody listens yet', async () => {
  const many = await Promise.all(Array.from({ length: 50 }, () => pickPorts('127.0.0.1')));
  const ports = many.flatMap((one) => Object.values(one));
  expect(new Set(ports).size).toBe(200);
});

it('throws for a host that this machine has not', async () => {
  await expect(pickPorts('192.0.2.1')).rejects.toThrow('EADDRNOTAVAIL');
});
