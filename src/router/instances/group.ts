/**
 * Instances whose KV is interchangeable. There is one group but while a roll changes the model: then pairs, resumes and block names
 * stay inside a group.
 */
import type { EngineInfo } from '../../engines/index.ts';
import type { Family } from '../identity/index.ts';
import type { Instance } from './instance.ts';

export interface Group {
  readonly info: EngineInfo;
  /** Null until the tokenizer is loaded (or was found broken); then block names are known. */
  family: Family | null;
  readonly instances: Set<Instance>;
}
