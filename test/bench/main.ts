/** `npm run bench -- <bench>`: measures, prints a table on stdout, and writes JSON where asked. */
import { writeFileSync } from 'node:fs';
import { Children } from './children.ts';
import { type BenchOptions, HELP, parseOptions } from './options.ts';
import { createProgress, type Progress } from './progress.ts';
import { type Report, renderReport } from './report.ts';

async function runBench(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  switch (options.bench) {
    case 'router':
      return (await import('./router-bench.ts')).benchRouter(options, children, progress);
    case 'handoff':
      return (await import('./handoff-bench.ts')).benchHandOff(options, children, progress);
    case 'disagg':
      return (await import('./disagg-bench.ts')).benchDisagg(options, children, progress);
    case 'vllm':
      return options.faults
        ? (await import('./vllm-faults.ts')).benchVllmFaults(options, children, progress)
        : (await import('./vllm-bench.ts')).benchVllm(options, children, progress);
    case 'start':
      return (await import('./start-bench.ts')).benchStart(options, children, progress);
    case 'peers':
      return (await import('./peers-bench.ts')).benchPeers(options, children, progress);
    case 'tokenizer':
      return (await import('./tokenizer-bench.ts')).benchTokenizer(options, progress);
    case 'operator':
      return (await import('./operator-bench.ts')).benchOperator(options, progress);
    case 'directory':
      return (await import('./directory-bench.ts')).benchDirectory(options, progress);
    case 'migration':
      return (await import('./migration-bench.ts')).benchMigration(options, children, progress);
    case 'switch':
      return (await import('./switch-bench.ts')).benchSwitch(options, children, progress);
    case 'events':
      return (await import('./events-bench.ts')).benchEvents(options, progress);
    case 'index':
      return (await import('./index-bench.ts')).benchIndex(options, progress);
    case 'transfer':
      return (await import('./transfer-bench.ts')).benchTransfer(options, children, progress);
    case 'chat':
      return (await import('./chat-bench.ts')).benchChat(options, progress);
  }
}

async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseOptions(argv);
  if (parsed.kind === 'help') {
    console.log(HELP);
    return 0;
  }
  if (parsed.kind === 'error') {
    console.error(`bench: ${parsed.message}`);
    return 2;
  }
  const { options } = parsed;
  const progress = createProgress(process.stderr, performance.now(), () => performance.now());
  const children = new Children();
  try {
    const report = await runBench(options, children, progress);
    progress.end();
    console.log(renderReport(report));
    if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    return 0;
  } catch (error) {
    progress.end();
    console.error(`bench ${options.bench} failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    await children.stopAll();
  }
}

process.exitCode = await main(process.argv.slice(2));
