/** vLLM for the CPU, installed by us, and where any vLLM is found. A face of its own: nothing here loads what running vLLM needs. */
export { type FindOptions, findVllm, installedVersion, installFolder } from './find.ts';
export { InstallError, type InstallOptions, installVllm } from './install.ts';
export { VLLM_VERSION } from './plan.ts';
