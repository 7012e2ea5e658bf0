/** Why a tokenizer.json is not one that the encoder of this folder knows to the letter. Thrown while it is read, caught in `readBpe`. */
export class Unclaimed extends Error {}
