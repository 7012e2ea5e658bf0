/** Before tests that need servers: gets what this machine lacks. What cannot be had is told by the reporter, and its tests are skipped. */
import { installServer, SERVER_PROGRAMS } from './programs.ts';

export default function setup(): void {
  for (const program of SERVER_PROGRAMS) {
    const failure = installServer(program);
    if (failure !== null) process.stderr.write(`${failure}\n`);
  }
}
