export { Family, familyKey, guessedNames, type PromptNames } from './family.ts';
