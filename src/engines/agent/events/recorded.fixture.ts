/**
 * Messages that real vLLM 0.32.0 processes sent, frame by frame (blocks of 32 tokens, a model of four layers with random weights, on a CPU):
 * - `kv-events.jsonl`: a few prompts, one of them salted.
 * - `kv-events-prefill.jsonl`, `kv-events-decode.jsonl`: a pair; the decode instance pulled five prompts that the other one computed.
 * - `kv-events-eviction.jsonl`: room for 63 blocks, prompts that push each other out, at the end a reset of the cache.
 */
import { readFileSync } from 'node:fs';

/** Frames `[topic, seq, payload]` of every message of a recording, in order. */
export function recordedFrames(name: string): Buffer[][] {
  const lines = readFileSync(new URL(`../../vllm/fixtures/${name}`, import.meta.url), 'utf8')
    .trim()
    .split('\n');
  return lines.map((line) => (JSON.parse(line) as { frames: string[] }).frames.map((frame) => Buffer.from(frame, 'hex')));
}
