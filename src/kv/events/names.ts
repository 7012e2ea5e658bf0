/** Names of lives and commands, and as what they travel in subjects. Pure. */
const TOKEN_CHARACTER = /[^A-Za-z0-9_-]/g;
const ESCAPED = /=([0-9A-F]{2})/g;

/** One token of a subject for a name of letters, digits and `._:@-`; another name gives another token. */
export function tokenOf(name: string): string {
  return name.replace(TOKEN_CHARACTER, (character) => `=${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);
}

export function nameOf(token: string): string {
  return token.replace(ESCAPED, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
