import type { Dialect } from '../../../engines/index.ts';
import { BootstrapSpeech } from '../bootstrap/speech.ts';
import { NixlSpeech } from '../nixl/speech.ts';
import { SluiceSpeech } from './sluice.ts';
import type { Speech, Subject } from './speech.ts';

export type {
  EventReader,
  Message,
  MoveSpeech,
  NoHandOff,
  PrefillAnswer,
  SessionVerb,
  Speech,
  StreamStop,
  Subject,
  Suspect,
  WholeAnswer,
} from './speech.ts';

export function speechOf(dialect: Dialect, subject: Subject): Speech {
  switch (dialect) {
    case 'sluice':
      return new SluiceSpeech(subject);
    case 'nixl':
      return new NixlSpeech(subject);
    case 'bootstrap':
      return new BootstrapSpeech(subject);
  }
}
