/** Names that several blocks use. */
import { type TextForm, text } from '../fields.ts';

export const metadataKey: TextForm = {
  expected: 'a key of the form [prefix/]name, each part letters, digits, "-", "_" and ".", the name at most 63 characters',
  pattern: /^(?:[a-z0-9][-a-z0-9.]{0,252}\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/,
  max: 317,
};

export const labelValue = text({
  expected: 'a label value of at most 63 letters, digits, "-", "_" and "." in quotes',
  pattern: /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/,
  max: 63,
});

/** Name of a deployment: what is appended for its instances still fits into the 63 characters of a label. */
export const deploymentName = text({
  expected: 'a name of at most 53 lower-case letters, digits and "-", starting and ending with a letter or digit',
  pattern: /^[a-z0-9](?:[-a-z0-9]{0,51}[a-z0-9])?$/,
  max: 53,
});

/** Name of a KVTier: with that of a namespace and a hash it names a part of a store, in which a dot separates the three. */
export const tierName = text({
  expected: 'a name of at most 53 lower-case letters, digits and "-", starting and ending with a letter or digit',
  pattern: /^[a-z0-9](?:[-a-z0-9]{0,51}[a-z0-9])?$/,
  max: 53,
});

/** Name of an object that is there already. */
export const objectName = text({
  expected: 'the name of an object: at most 253 lower-case letters, digits, "-" and ".", starting and ending with a letter or digit',
  pattern: /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/,
  max: 253,
});

export const printable = (max: number) =>
  text({ expected: `text of 1 to ${max} characters without control characters`, pattern: /^[^\p{Cc}]+$/u, max });

export const anyText = (max: number) => text({ expected: `text of at most ${max} characters without NUL`, pattern: /^[^\0]*$/u, max });
