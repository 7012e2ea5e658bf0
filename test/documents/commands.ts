/** The commands that documents tell people to run. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { COMMANDS } from '../../src/cli/commands.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export const DOCUMENTS = [
  'README.md',
  'charts/sluice/README.md',
  'docs/engines/vllm.md',
  'docs/engines/sglang.md',
  'docs/kubernetes.md',
  'docs/troubleshooting.md',
  'docs/upgrade.md',
] as const;

/** What a command line of a document begins with: a program that only others have, or one of ours with a word that it knows. */
const PROGRAMS = ['npm', 'npx', 'kubectl', 'helm', 'curl', 'ctr', 'docker', 'kind', 'minikube', 'skopeo'];
const OURS = COMMANDS.map(({ name }) => name);
const IS_COMMAND = new RegExp(`^(?:(?:${PROGRAMS.join('|')}) |sluice (?:${OURS.join('|')}|--))`);
/** Fewer words in a sentence name a program (`helm uninstall`); they are no command line. */
const LEAST_WORDS = 3;
/** Fences without a language, or of a shell. */
const FENCE = /^```(?:sh|bash)?\n([\s\S]*?)^```/gm;
const ANY_FENCE = /^```[\s\S]*?^```/gm;

/** Of fenced blocks, and of code in sentences, without comments; each once. */
export function commandsOf(markdown: string): readonly string[] {
  const fenced = [...markdown.matchAll(FENCE)].flatMap(([, block = '']) => block.replaceAll(/\\\n\s*/g, '').split('\n'));
  const spans = [...markdown.replaceAll(ANY_FENCE, '').matchAll(/`([^`]+)`/g)].map(([, code = '']) => code.replaceAll(/\s+/g, ' '));
  const lines = [...fenced, ...spans.filter((code) => code.split(' ').length >= LEAST_WORDS)];
  const commands = lines.map((line) => line.replace(/\s+#.*$/, '').trim()).filter((line) => IS_COMMAND.test(line));
  return [...new Set(commands)];
}

export function commandsIn(document: string): readonly string[] {
  return commandsOf(readFileSync(`${ROOT}${document}`, 'utf8'));
}
