/** Before tests that need servers: gets what this machine lacks. What cannot be had is told by the reporter, and its tests are skipped. */
import { installServer } from './programs.ts';

export default function setup(): void {
  const failure = installServer('redis-server');
  if (failure !== null) process.stderr.write(`${failure}\n`);
}
