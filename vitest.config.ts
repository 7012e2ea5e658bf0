import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { asksForTier, testedTier, testsChart } from './test/cluster/binaries.ts';

/** Tests against a real API server: those of the tier that was asked for, else of tier 1 where its programs are on this machine. Tier 3 is a suite of its own. */
const tier = testedTier(process.env);

/** Gets servers that tests talk to, such as Redis, where the machine lacks them. */
const SERVERS = ['test/servers/setup.ts'];

/** A minute or more each, so not for every `npm test`: `npm run test:long`. Most wait for what must not happen, or for a time to be over. */
const LONG = ['clock-skew', 'router-frozen', 'router-patience', 'session-move-faults', 'session-move-routers', 'soak'].map(
  (name) => `test/integration/${name}.test.ts`,
);
/** With a part of its cases in `npm test`, with all of them there. */
const LONGER = ['test/integration/equality.test.ts'];

/** Quick suites first: a broken unit is told before any process is started. */
const PROJECTS = [
  { name: 'unit', include: ['src/**/*.test.ts', 'test/unit/**/*.test.ts', 'test/bench/**/*.test.ts'], timeoutMs: 30_000 },
  // Reads every file that there is.
  { name: 'architecture', include: ['test/architecture/**/*.test.ts'], timeoutMs: 30_000 },
  { name: 'contract', include: ['test/contract/**/*.test.ts'], timeoutMs: 20_000, globalSetup: SERVERS },
  { name: 'simulation', include: ['test/simulation/**/*.test.ts'], timeoutMs: 60_000 },
  { name: 'integration', include: ['test/integration/**/*.test.ts'], exclude: LONG, timeoutMs: 120_000, globalSetup: SERVERS },
  ...(process.env['SLUICE_TEST_LONG'] === '1'
    ? [{ name: 'long', include: [...LONG, ...LONGER], timeoutMs: 120_000, globalSetup: SERVERS }]
    : []),
  ...(tier === null || tier === 3
    ? []
    : [{ name: 'cluster', include: clusterTests(tier), timeoutMs: 60_000, globalSetup: ['test/cluster/shared.ts'] }]),
  ...(tier === 3
    ? [{ name: 'node', include: ['test/cluster/tier3/*.test.ts'], timeoutMs: 600_000, globalSetup: ['test/cluster/tier3/shared.ts'] }]
    : []),
  // Engines that must be installed first, some of them gigabytes: `npm run test:engines`.
  ...(process.env['SLUICE_TEST_ENGINES'] === '1' ? [{ name: 'engines', include: ['test/engines/**/*.test.ts'], timeoutMs: 120_000 }] : []),
];

function clusterTests(tier: number): string[] {
  const chart = testsChart(process.env) ? ['test/cluster/chart/*.test.ts'] : [];
  // Minutes of an operator that is killed again and again: only for those who ask for a tier.
  const faults = asksForTier(process.env) ? ['test/cluster/faults/*.test.ts'] : [];
  return ['test/cluster/*.test.ts', ...chart, ...faults, ...(tier === 2 ? ['test/cluster/tier2/**/*.test.ts'] : [])];
}

/** Their tests start processes that want the whole machine. */
const ONE_FILE_AT_A_TIME = ['integration', 'long', 'cluster', 'node', 'engines'];

/** A project without files would make vitest complain; one whose folder is missing is left out instead. */
function holdsTests(pattern: string): boolean {
  if (!pattern.includes('*')) return existsSync(new URL(pattern, import.meta.url));
  const root = fileURLToPath(new URL(pattern.slice(0, pattern.indexOf('/*')), import.meta.url));
  return existsSync(root) && readdirSync(root, { recursive: true, encoding: 'utf8' }).some((name) => name.endsWith('.test.ts'));
}

export default defineConfig({
  test: {
    passWithNoTests: false,
    // Two cores is the machine this must run on, and engines of integration tests want a part of them.
    maxWorkers: 2,
    retry: 0,
    reporters: ['default', './test/reporter.ts'],
    projects: PROJECTS.filter((project) => project.include.some(holdsTests)).map((project, order) => ({
      test: {
        name: project.name,
        include: project.include,
        ...('exclude' in project ? { exclude: project.exclude } : {}),
        environment: 'node' as const,
        ...('globalSetup' in project ? { globalSetup: project.globalSetup } : {}),
        testTimeout: project.timeoutMs,
        hookTimeout: project.timeoutMs,
        // The default of one second is what a busy machine may take for anything.
        expect: { poll: { timeout: 10_000 } },
        fileParallelism: !ONE_FILE_AT_A_TIME.includes(project.name),
        sequence: { groupOrder: order },
      },
    })),
  },
});
