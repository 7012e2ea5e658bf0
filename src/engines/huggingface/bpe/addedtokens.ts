/**
 * Finds added tokens in a text before anything else looks at it: from left to right, at each place the longest. White space that a token
 * asks for beside it becomes a part of it.
 */
import { WHITE_SPACE } from './categories.ts';
import { Unclaimed } from './unclaimed.ts';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Whether the token takes the white space before and after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

export interface Found {
  readonly token: AddedToken;
  readonly start: number;
  readonly end: number;
}

interface Branch {
  readonly branches: Map<number, Branch>;
  token: AddedToken | null;
}

export class AddedTokens {
  readonly #root: Branch = { branches: new Map(), token: null };
  /** First units of the tokens, when they are so few that looking for each is faster than looking at each unit. */
  readonly #first: string | null;

  /** @throws Unclaimed when two tokens could claim the same white space */
  constructor(tokens: readonly AddedToken[]) {
    for (const token of tokens) this.#add(token);
    const [first = 0, ...others] = this.#root.branches.keys();
    this.#first = others.length === 0 && tokens.length > 0 ? String.fromCharCode(first) : null;
    if (tokens.some(({ lstrip, rstrip }) => lstrip || rstrip) && tokens.some(({ content }) => isSpace(content, 0))) {
      throw new Unclaimed('added tokens that begin with white space beside others that take the white space around them');
    }
  }

  /** The first one in `text` from `from` on, where the one before it ended. */
  find(text: string, from: number): Found | null {
    for (let at = this.#candidate(text, from); at >= 0 && at < text.length; at = this.#candidate(text, at + 1)) {
      const token = this.#longest(text, at);
      if (token) return this.#withSpace(token, text, [from, at]);
    }
    return null;
  }

  #add(token: AddedToken): void {
    let branch = this.#root;
    for (let at = 0; at < token.content.length; at += 1) {
      const unit = token.content.charCodeAt(at);
      const deeper: Branch = branch.branches.get(unit) ?? { branches: new Map(), token: null };
      branch.branches.set(unit, deeper);
      branch = deeper;
    }
    if (branch.token) throw new Unclaimed(`two added tokens that are both ${JSON.stringify(token.content)}`);
    branch.token = token;
  }

  /** Where a token may begin at or after `from`; -1 = nowhere. */
  #candidate(text: string, from: number): number {
    const { branches } = this.#root;
    if (branches.size === 0) return -1;
    if (this.#first !== null) return text.indexOf(this.#first, from);
    for (let at = from; at < text.length; at += 1) if (branches.has(text.charCodeAt(at))) return at;
    return -1;
  }

  #longest(text: string, from: number): AddedToken | null {
    let longest: AddedToken | null = null;
    let branch: Branch | undefined = this.#root;
    for (let at = from; branch !== undefined; at += 1) {
      longest = branch.token ?? longest;
      branch = at < text.length ? branch.branches.get(text.charCodeAt(at)) : undefined;
    }
    return longest;
  }

  #withSpace(token: AddedToken, text: string, [from, at]: readonly [number, number]): Found {
    let start = at;
    let end = at + token.content.length;
    if (token.lstrip) while (start > from && isSpace(text, start - 1)) start -= 1;
    if (token.rstrip) while (isSpace(text, end)) end += 1;
    return { token, start, end };
  }
}

function isSpace(text: string, at: number): boolean {
  return at < text.length && WHITE_SPACE.has(text.charCodeAt(at));
}
