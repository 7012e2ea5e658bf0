/** A page with the names and labels of SGLang 0.5.18's, from its documents: no SGLang was run here. */
const LABELS = 'model_name="m",engine_type="unified",tp_rank="0",pp_rank="0"';

export function pageOf(values: Readonly<Record<string, number>>): string {
  const all = { num_running_reqs: 0, num_queue_reqs: 0, token_usage: 0, max_total_num_tokens: 1600, ...values };
  const lines = Object.entries(all).map(([name, value]) => `sglang:${name}{${LABELS}} ${value}`);
  return `# HELP sglang:num_running_reqs The number of running requests.\n# TYPE sglang:num_running_reqs gauge\n${lines.join('\n')}\n`;
}
