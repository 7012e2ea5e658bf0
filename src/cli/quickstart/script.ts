/** The conversation of the quickstart: five requests, each of which shows one thing. Pure. */
import type { ChatTurn } from './stream.ts';

export interface ScriptedRequest {
  readonly name: string;
  /** What a newcomer should look at. */
  readonly shows: string;
  readonly messages: readonly ChatTurn[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly cancelAfter: number | null;
}

const SYSTEM: ChatTurn = {
  role: 'system',
  content: [
    'You are the night librarian of a small harbour town. Answer in short sentences.',
    'You know where every book stands, which ships came in, and who forgot to bring the atlas back.',
    'When somebody asks for a book that is lent out, say when it returns and name another one that stands nearby.',
    'Never promise a seat at the window: there are only three, and the cat has one of them.',
  ].join(' '),
};
const FIRST = 'Good evening. Do you have the atlas of northern lights?';
const OTHER = 'Which ship came in tonight, and did it bring new books?';

/** Asked one after the other: the second turn needs the answer to the first. */
export function scriptedRequests(longText: string): readonly ((firstAnswer: string) => ScriptedRequest)[] {
  const user = (content: string): ChatTurn => ({ role: 'user', content });
  return [
    () => ({
      name: 'cold prompt',
      shows: 'nothing is known yet: the whole prompt is computed',
      messages: [SYSTEM, user(FIRST)],
      maxTokens: 48,
      temperature: 0,
      seed: 1,
      cancelAfter: null,
    }),
    () => ({
      name: 'same prefix again',
      shows: 'the system prompt was seen before: its blocks are reused, only the question is computed',
      messages: [SYSTEM, user(OTHER)],
      maxTokens: 48,
      temperature: 0.8,
      seed: 2,
      cancelAfter: null,
    }),
    (answer) => ({
      name: 'second turn',
      shows: 'the conversation so far was seen before: only what is new is computed',
      messages: [SYSTEM, user(FIRST), { role: 'assistant', content: answer }, user('And when does it come back?')],
      maxTokens: 48,
      temperature: 0.8,
      seed: 3,
      cancelAfter: null,
    }),
    () => ({
      name: 'long prompt',
      shows: 'about 4,000 tokens: compare the time to compute them (TTFT) with the time to hand them over',
      messages: [SYSTEM, user(longText)],
      maxTokens: 32,
      temperature: 0,
      seed: 4,
      cancelAfter: null,
    }),
    () => ({
      name: 'cancelled stream',
      shows: 'the client goes away: work on it stops and nothing is left behind',
      messages: [SYSTEM, user('Tell me everything about the harbour, from the beginning.')],
      maxTokens: 400,
      temperature: 0.8,
      seed: 5,
      cancelAfter: 6,
    }),
  ];
}

const SHIPS = ['Aurora', 'Brightwater', 'Cormorant', 'Dunlin', 'Eider', 'Fulmar', 'Gannet'];
const CARGO = ['salt and paper', 'maps of the coast', 'seven crates of novels', 'lamp oil', 'printing type', 'a piano', 'herring'];

/** A log of ships, no two lines alike, of at least `characters` characters. */
export function harbourLog(characters: number): string {
  const lines = ['Here is the log of the harbour. Which ship came twice?'];
  for (let day = 1, length = 0; length < characters; day++) {
    const line = `Day ${day}: the ${SHIPS[day % 7]} brought ${CARGO[(day * 3) % 7]} and left with ${(day * 37) % 101} passengers.`;
    lines.push(line);
    length += line.length + 1;
  }
  return lines.join('\n');
}
