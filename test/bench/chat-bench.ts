/**
 * The chat bench: 1,000 conversations on one simulated accelerator while priorities change, as FastSwitch (arXiv 2411.18424) measures context
 * switches. Ours (contiguous groups, host copies used again, copies beside computing) against blocks one by one, sent anew each time, waited for.
 * The accelerator, the link and the conversations are simulated; what moves, where it lies and how is decided by the code of `src/kv/policy`.
 */

import { chatLoad } from './chat-load.ts';
import type { Mechanisms, MemoryShape } from './chat-memory.ts';
import { type ChatResult, simulateChat } from './chat-sim.ts';
import { LLAMA_8B_ON_A10 } from './declared.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { percentile } from './quantiles.ts';
import { compare, type Sample } from './ratio.ts';
import type { Report } from './report.ts';

const CONVERSATIONS = 1_000;
/** 5.5 turns each: 0.7 requests per second. At the paper's 1.0 the baseline falls behind for good, and its latencies say only how long one measured. */
const CONVERSATIONS_PER_SECOND = 0.7 / 5.5;
const PERIODS = [25, 50] as const;
const PRIORITIES = ['random', 'markov'] as const;
const OURS = 'sluice';
const BASELINE = 'perBlock';

const MIB = 2 ** 20;
const MEMORY: MemoryShape = {
  // 24 GB, 90 % of it used, less weights and activations.
  hbmBlocks: 2_200,
  // 60 GB, as in the paper.
  hostBlocks: 28_600,
  blockBytes: 2 * MIB,
  blockTokens: 16,
  copiesPerRun: 2 * 32,
  // PCIe 4 x16 at 25 GB/s; 4 us per copy, a third of what others measured, lest the baseline be worse than it was.
  link: { fixedMs: 0, msPerMiB: (MIB / 25e9) * 1000, copyMs: 0.004 },
};

const CONTENDERS: Readonly<Record<string, Mechanisms>> = {
  [OURS]: { groups: true, reuse: true, asynchronous: true },
  [BASELINE]: { groups: false, reuse: false, asynchronous: false },
  groupsOnly: { groups: true, reuse: false, asynchronous: false },
  groupsAndReuse: { groups: true, reuse: true, asynchronous: false },
};

/** Mechanisms one after the other, in one setting alone. */
const PARTS: readonly string[] = ['groupsOnly', 'groupsAndReuse'];

export async function benchChat(options: BenchOptions, progress: Progress): Promise<Report> {
  const samples: Sample[] = [];
  for (let repeat = 0; repeat < options.runs; repeat += 1) {
    const conversations = chatLoad({ conversations: CONVERSATIONS, perSecond: CONVERSATIONS_PER_SECOND, seed: repeat + 1 });
    for (const updateEvery of PERIODS) {
      for (const priorities of PRIORITIES) {
        progress.step(`run ${repeat + 1}/${options.runs}: ${priorities}, every ${updateEvery} steps`);
        for (const [contender, mechanisms] of Object.entries(CONTENDERS)) {
          if (PARTS.includes(contender) && !(updateEvery === 25 && priorities === 'random')) continue;
          const setup = { conversations, costs: LLAMA_8B_ON_A10, memory: MEMORY, mechanisms, maxSequences: 64, chunkTokens: 512 };
          const result = simulateChat({ ...setup, updateEvery, priorities, seed: repeat + 1 });
          for (const [metric, value] of Object.entries(figures(result)))
            samples.push({ repeat, contender, metric: `${metric}.${priorities}.${updateEvery}`, value });
          // The progress line and signals get their turn.
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    }
  }
  return reportOf(samples, options.runs);
}

function figures({ ttftMs, tokens, makespanMs, stalledMs, traffic }: ChatResult): Readonly<Record<string, number>> {
  const sorted = ttftMs.toSorted((a, b) => a - b);
  return {
    ttftP95: percentile(sorted, 0.95),
    ttftP99: percentile(sorted, 0.99),
    throughput: (tokens / makespanMs) * 1000,
    gigabytesOut: traffic.bytesOut / 1e9,
    gigabytesIn: traffic.bytesIn / 1e9,
    copies: traffic.copies,
    copiesPerSwitch: traffic.switches === 0 ? 0 : traffic.copies / traffic.switches,
    switches: traffic.switches,
    stalled: stalledMs / makespanMs,
  };
}

const UNITS: Readonly<Record<string, string>> = {
  ttftP95: 'ms',
  ttftP99: 'ms',
  throughput: 'tokens/s',
  gigabytesOut: 'GB',
  gigabytesIn: 'GB',
  copies: 'copies',
  copiesPerSwitch: 'copies',
  switches: 'moves',
  stalled: 'share of time',
};

function reportOf(samples: readonly Sample[], runs: number): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  return {
    name: 'chat',
    ratio,
    baseline: {
      [BASELINE]: 'one copy per block, layer and K or V; everything sent again at each switch; everybody waits for it, as vLLM 0.3.3 did',
      groupsOnly: 'contiguous groups, else as perBlock',
      groupsAndReuse: 'and what host memory has is not sent again, else as perBlock',
    },
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(Object.keys(absolute).map((metric) => [metric, UNITS[metric.split('.')[0] ?? ''] ?? '?'])),
    notes: [
      `SIMULATED: accelerator (Llama 8B on an A10), link (25 GB/s, 4 us per copy), conversations (${CONVERSATIONS}, 5.5 turns, 0.7 requests per second); time is simulated too, so nothing depends on this machine`,
      'real: planStep of the simulated engine; planOnboard and LinkMeter of src/kv/policy; where blocks lie in memory is the simulation, too (chat-groups.ts)',
      'every run is another seed of conversations and priorities; the contenders of a run have the same',
      'ttft, gigabytes, copies, stalled: small is good; throughput: large is good',
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}
