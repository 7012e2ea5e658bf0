export { Family, familyKey, type PromptNames } from './family.ts';
