/** The built-in model of vLLM. A face of its own: writing a model needs nothing of what running it does. */
export { ensureTinyModelFolder } from './tinymodel.ts';
